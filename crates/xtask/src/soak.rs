//! `cargo xtask soak`: a client under load that is given up, fails and panics at random, for minutes.

use clap::Args;

use crate::run::{Outcome, command, succeed};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How long it goes on
    #[arg(long, value_name = "N", default_value_t = 120)]
    seconds: u32,
}

/// # Errors
///
/// Fails when the metrics say something else than callers, connector and server have counted.
pub(crate) fn run(options: &Options) -> Outcome {
    // A round of it is a test like all others, and this one goes on.
    let mut test = command(
        "cargo test --release --package palisade-tests --test integration -- --nocapture soak::",
    );
    succeed(test.env("PALISADE_SOAK_SECONDS", options.seconds.to_string()))
}

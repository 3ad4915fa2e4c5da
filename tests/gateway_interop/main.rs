//! The example `gateway` as a process between callers and upstreams, for `cargo xtask interop
//! gateway`: it says in `PALISADE_GATEWAY` where the program is, and in `PALISADE_OAUTH` where the
//! OAuth server is that it has started.
//!
//! `gateway-interop [TEXT]` runs the scenarios whose names have the text in them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of it is tests")]

mod credentials;
mod failures;
mod gateway;
mod layers;
mod messages;
mod nginx;
mod stop;
#[path = "../tally.rs"]
mod tally;

use std::{env, pin::Pin, process::ExitCode};

use self::tally::Tally;

/// What is asked of a gateway.
struct Scenario {
    name: &'static str,
    run: Pin<Box<dyn Future<Output = String> + Send>>,
}

impl Scenario {
    /// `run` is told the name, by which it calls what it writes.
    fn new<F>(name: &'static str, run: impl FnOnce(&'static str) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let run = run(name);
        let run = async {
            run.await;
            String::new()
        };
        Self { name, run: Box::pin(run) }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let wanted = env::args().nth(1).unwrap_or_default();
    if env::var_os("PALISADE_GATEWAY").is_none() {
        eprintln!("gateway-interop: run it by `cargo xtask interop gateway`");
        return ExitCode::FAILURE;
    }
    let all = [
        messages::all(),
        layers::all(),
        failures::all(),
        credentials::all(),
        nginx::all(),
        stop::all(),
    ];
    let mut tally = Tally::default();
    for scenario in all.into_iter().flatten().filter(|one| one.name.contains(&wanted)) {
        tally.run(scenario.name, scenario.run).await;
    }
    tally.end()
}

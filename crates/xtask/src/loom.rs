//! `cargo xtask loom`: what threads share, in every order of their steps.

use crate::{
    arrows,
    run::{Failure, Outcome, command, succeed},
};

/// # Errors
///
/// Fails when a model does, or when there is none.
pub(crate) fn run() -> Outcome {
    let packages = arrows::packages()?;
    let mut names = packages
        .iter()
        .filter(|package| package.depends_on("loom"))
        .map(|package| &*package.name)
        .peekable();
    if names.peek().is_none() {
        return Err(Failure::new("no crate depends on loom"));
    }

    // Not `cfg(loom)`, which tokio and others know too. Flags of its own need a target directory of
    // their own, or every other build would start afresh.
    let mut test = command("cargo test --release --lib --target-dir target/loom");
    test.env("RUSTFLAGS", "--cfg palisade_loom");
    test.args(names.flat_map(|name| ["--package", name]));
    // Outside of a model, loom's types panic: of the tests, only the models run.
    succeed(test.arg("::models::"))
}

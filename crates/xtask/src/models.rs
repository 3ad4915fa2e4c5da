//! `cargo xtask loom` and `cargo xtask shuttle`: what threads share, in other orders of their steps.

use crate::{
    arrows,
    run::{Failure, Outcome, command, succeed},
};

/// Who runs the models of the crates that depend on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checker {
    name: &'static str,
}

/// Tries every order, of few steps.
pub(crate) const LOOM: Checker = Checker { name: "loom" };
/// Tries some orders of many steps.
pub(crate) const SHUTTLE: Checker = Checker { name: "shuttle" };

impl Checker {
    /// # Errors
    ///
    /// Fails when a model does, or when there is none.
    pub(crate) fn run(self) -> Outcome {
        let checker = self.name;
        let packages = arrows::packages()?;
        let mut names = packages
            .iter()
            .filter(|package| package.depends_on(checker))
            .map(|package| &*package.name)
            .peekable();
        if names.peek().is_none() {
            return Err(Failure::new(format!("no crate depends on {checker}")));
        }

        // Not `cfg(loom)`, which tokio and others know too. Flags of its own need a target
        // directory of their own, or every other build would start afresh.
        let mut test = command("cargo test --release --lib --target-dir");
        test.arg(format!("target/{checker}"));
        test.env("RUSTFLAGS", format!("--cfg palisade_{checker}"));
        test.args(names.flat_map(|name| ["--package", name]));
        // Outside of a model, the checker's types panic: of the tests, only the models run.
        succeed(test.arg("::models::"))
    }
}

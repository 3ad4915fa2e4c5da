//! Scenarios of `cargo xtask interop`, one after another, and what came of them.

use std::{process::ExitCode, time::Duration};

use tokio::{task::JoinSet, time::timeout};

/// Far beyond what any takes: what is waited for does not come.
const WITHIN: Duration = Duration::from_secs(60);

/// How many have passed, and how many have not.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    passed: u32,
    failed: u32,
}

impl Tally {
    /// Runs one, which may say in a line for a person what was seen, and panics if that is not what
    /// it should be.
    pub(crate) async fn run(
        &mut self,
        name: &str,
        scenario: impl Future<Output = String> + Send + 'static,
    ) {
        // By itself, so that a panic ends it alone.
        let mut tasks = JoinSet::new();
        tasks.spawn(timeout(WITHIN, scenario));
        match tasks.join_next().await {
            Some(Ok(Ok(seen))) => {
                self.passed += 1;
                println!("ok      {name}{}{seen}", if seen.is_empty() { "" } else { ": " });
            }
            ended => {
                self.failed += 1;
                let late = matches!(ended, Some(Ok(Err(_))));
                println!("FAILED  {name}{}", if late { ": it has no end" } else { "" });
            }
        }
    }

    /// Fails if one has, or if there was none.
    pub(crate) fn end(self) -> ExitCode {
        println!("{} passed, {} failed", self.passed, self.failed);
        match (self.passed, self.failed) {
            (1.., 0) => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }
}

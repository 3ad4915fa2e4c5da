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
mod stop;

use std::{env, pin::Pin, process::ExitCode, time::Duration};

use tokio::{task::JoinSet, time::timeout};

/// What is asked of a gateway. It panics if that is not what it should be.
struct Scenario {
    name: &'static str,
    run: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Scenario {
    /// `run` is told the name, by which it calls what it writes.
    fn new<F>(name: &'static str, run: impl FnOnce(&'static str) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self { name, run: Box::pin(run(name)) }
    }
}

/// Far beyond what any takes: what is waited for does not come.
const WITHIN: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let wanted = env::args().nth(1).unwrap_or_default();
    if env::var_os("PALISADE_GATEWAY").is_none() {
        eprintln!("gateway-interop: run it by `cargo xtask interop gateway`");
        return ExitCode::FAILURE;
    }
    let all = [messages::all(), layers::all(), failures::all(), credentials::all(), stop::all()];
    let (mut passed, mut failed) = (0, 0);
    for scenario in all.into_iter().flatten().filter(|one| one.name.contains(&wanted)) {
        // By itself, so that a panic ends it alone.
        let mut tasks = JoinSet::new();
        tasks.spawn(timeout(WITHIN, scenario.run));
        match tasks.join_next().await {
            Some(Ok(Ok(()))) => {
                passed += 1;
                println!("ok      {}", scenario.name);
            }
            ended => {
                failed += 1;
                let late = matches!(ended, Some(Ok(Err(_))));
                println!("FAILED  {}{}", scenario.name, if late { ": it has no end" } else { "" });
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    match (passed, failed) {
        (1.., 0) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

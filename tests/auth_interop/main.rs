//! Credentials of an OAuth server that others have made, for `cargo xtask interop auth`: it starts
//! the server, and says in `PALISADE_OAUTH` where that is.
//!
//! `auth-interop [TEXT]` runs the scenarios whose names have the text in them, one after another, and
//! says what came of each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of it is tests")]

mod clock;
mod elsewhere;
mod fixture;
mod flight;
mod grants;
mod interactive;
mod login;
mod refused;
#[path = "../tally.rs"]
mod tally;
mod told;

use std::{env, pin::Pin, process::ExitCode};

use self::{fixture::Fixture, tally::Tally};

/// What is done with the server. It says in a line for a person what was seen, and panics if that
/// is not what it should be.
struct Scenario {
    name: &'static str,
    run: Box<dyn FnOnce(Fixture) -> Seen>,
}

type Seen = Pin<Box<dyn Future<Output = String> + Send>>;

impl Scenario {
    fn new<F>(name: &'static str, run: impl FnOnce(Fixture) -> F + 'static) -> Self
    where
        F: Future<Output = String> + Send + 'static,
    {
        Self { name, run: Box::new(|fixture| Box::pin(run(fixture))) }
    }
}

/// Has this program be one of several that share a login.
pub(crate) const ONE_PROCESS: &str = "--one-process";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Ok(address) = env::var("PALISADE_OAUTH") else {
        eprintln!("auth-interop: run it by `cargo xtask interop auth`");
        return ExitCode::FAILURE;
    };
    let fixture = Fixture::new(&address).await;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => run(&fixture, "").await,
        [wanted] => run(&fixture, wanted).await,
        [ONE_PROCESS, file, refresh_token] => {
            login::one_process(&fixture, file, refresh_token).await;
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("usage: auth-interop [TEXT]");
            ExitCode::FAILURE
        }
    }
}

async fn run(fixture: &Fixture, wanted: &str) -> ExitCode {
    let all = [
        grants::all(),
        flight::all(),
        login::all(),
        interactive::all(),
        refused::all(),
        elsewhere::all(),
    ];
    let mut tally = Tally::default();
    for scenario in all.into_iter().flatten().filter(|one| one.name.contains(wanted)) {
        fixture.reset().await;
        tally.run(scenario.name, (scenario.run)(fixture.clone())).await;
    }
    tally.end()
}

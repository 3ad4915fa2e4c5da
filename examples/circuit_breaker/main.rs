//! An API goes down for a while, slow and failing, and comes back: what a circuit breaker makes of
//! it.
//!
//! The same steady traffic goes to two such APIs at once, to one with hyper's client alone, to the
//! other with a breaker around it. A chart shows what became of each call through the breaker, and
//! the states that the breaker went through; a table compares the two.
//!
//! ```sh
//! cargo run --example circuit_breaker
//! ```
//!
//! [`client`] is the part to copy.

mod changes;
mod client;
mod report;
mod scene;
mod traffic;

use std::{
    fmt::Display,
    io::{Write, stdout},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use palisade::circuit_breaker::State;
use palisade_testkit::FlakyApi;
use tokio::time::{Instant, sleep_until};

use crate::{
    changes::{Change, Changes, open_times},
    report::{HEADING, Sum, list, row, sentences, table},
    scene::{ROW, script},
    traffic::send_all,
};

// One thread, so that changes are told in the order they are made.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let start = Instant::now();
    let bare_api = FlakyApi::start(script(start)).await;
    let api = FlakyApi::start(script(start)).await;
    let changes = Arc::new(Changes::since(start));
    let bare_calls = send_all(&client::bare(), &bare_api.url("/"), start);
    let calls = send_all(&client::with_breaker(changes.clone()), &api.url("/"), start);

    say(HEADING);
    let mut answers = Vec::new();
    let mut begin = Duration::ZERO;
    for calls in calls {
        let mut calls = calls.join_all().await;
        calls.sort_unstable_by_key(|answer| answer.sent);
        // Who was refused knows so at once, and the last change of the row may be yet to come.
        sleep_until(start + begin + ROW).await;
        say(row(begin, &calls, &changes.states(begin..begin + ROW)));
        answers.extend(calls);
        begin += ROW;
    }
    let mut bare_answers = Vec::new();
    for calls in bare_calls {
        bare_answers.extend(calls.join_all().await);
    }

    let changes = changes.all();
    let bare = Sum::of(&bare_answers, &bare_api.stats());
    let sum = Sum::of(&answers, &api.stats());
    say(format!("\n{}\n\n{}\n\n{}", list(&changes), table(&bare, &sum), sentences(&bare, &sum)));
    match check(&changes, &bare, &sum) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Whoever closes the pipe has read enough.
fn say(text: impl Display) {
    let _ = writeln!(stdout(), "{text}");
}

/// Whether it has happened what was to be shown.
fn check(changes: &[Change], bare: &Sum, sum: &Sum) -> Result<(), String> {
    for (from, to) in [
        (State::Closed, State::Open),
        (State::Open, State::HalfOpen),
        (State::HalfOpen, State::Open),
        (State::HalfOpen, State::RampUp),
        (State::RampUp, State::Closed),
    ] {
        if !changes.iter().any(|change| (change.from, change.to) == (from.as_str(), to.as_str())) {
            return Err(format!("the breaker never went from {from} to {to}"));
        }
    }
    if !open_times(changes).is_sorted_by(|earlier, later| earlier < later) {
        return Err("the breaker did not stay open for longer each time".to_owned());
    }
    if changes.last().is_some_and(|change| change.to != State::Closed.as_str()) {
        return Err("the breaker was not closed in the end".to_owned());
    }
    if bare.outage_requests <= sum.outage_requests || bare.waited <= sum.waited {
        return Err("the breaker spared nobody anything".to_owned());
    }
    Ok(())
}

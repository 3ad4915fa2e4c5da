//! 200 tasks call an API for 20 seconds, whose tokens live for two and are revoked now and then: once
//! with a client that looks at the clock and refreshes for itself, and once with the layer. The token
//! server gives a new refresh token each time, and ends the login when one is used twice.
//!
//! ```sh
//! cargo run --example auth
//! ```
//!
//! [`client`] is the part to copy.

mod client;
mod naive;
mod server;

use std::{
    fmt,
    io::{Write, stdout},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use indicatif::{ProgressBar, ProgressStyle};
use palisade_testkit::Random;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tower::{BoxError, ServiceExt};

use crate::{client::ApiClient, naive::Naive, server::Server};

const SEED: u64 = 7;
const TASKS: u64 = 200;
const LENGTH: Duration = Duration::from_secs(20);
/// How long a task waits between two calls: up to so many milliseconds.
const PAUSE: u64 = 400;

/// What the calls of a client came to.
struct Outcome {
    name: &'static str,
    calls: u64,
    failures: u64,
    replays: u64,
    server: Server,
}

#[tokio::main]
async fn main() -> ExitCode {
    let (by_hand, by_layer) = (Server::start(SEED).await, Server::start(SEED).await);
    let naive = Naive::new(client::bare(), &by_hand.origin, &by_hand.refresh_token);
    let replays = Arc::new(AtomicU64::new(0));
    let client = client::logged_in(&by_layer.origin, &by_layer.refresh_token, Arc::clone(&replays));
    let url = format!("{}/data", by_layer.origin);

    // Both at once, so that both have the same machine.
    let naive = play(move || {
        let naive = naive.clone();
        async move { naive.get("/data").await }
    });
    let with_layer = play(move || get(client.clone(), url.clone()));
    let (naive, with_layer, ()) = tokio::join!(naive, with_layer, show_progress());

    let outcome = |name, (calls, failures), replays, server| Outcome {
        name,
        calls,
        failures,
        replays,
        server,
    };
    let naive = outcome("by hand", naive, 0, by_hand);
    let with_layer =
        outcome("with the layer", with_layer, replays.load(Ordering::Relaxed), by_layer);
    let mut out = stdout();
    // Whoever closes the pipe has read enough.
    let _ = writeln!(
        out,
        "{:<16}{:>8}{:>10}{:>16}{:>8}{:>9}{:>13}",
        "", "calls", "failures", "token requests", "401s", "replays", "logins lost"
    );
    for outcome in [&naive, &with_layer] {
        let _ = writeln!(out, "{outcome}");
    }
    if with_layer.failures != 0 || with_layer.server.lost() != 0 {
        eprintln!("error: a call with the layer failed, or its login was lost");
        return ExitCode::FAILURE;
    }
    if with_layer.replays == 0
        || naive.server.token_requests() <= with_layer.server.token_requests()
    {
        eprintln!("error: no token was refused, or the layer asked for too many");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Has all tasks call, and says how often they did and how many calls failed.
async fn play<F>(call: impl Fn() -> F + Clone + Send + 'static) -> (u64, u64)
where
    F: Future<Output = Result<StatusCode, BoxError>> + Send,
{
    let until = Instant::now() + LENGTH;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let call = call.clone();
        tasks.spawn(async move {
            let mut dice = Random::seeded(SEED + task);
            let (mut calls, mut failures) = (0, 0);
            while Instant::now() < until {
                let status = call().await;
                calls += 1;
                failures += u64::from(!status.is_ok_and(|status| status.is_success()));
                sleep(Duration::from_millis(dice.number() % PAUSE)).await;
            }
            (calls, failures)
        });
    }
    let tasks = tasks.join_all().await;
    tasks.iter().fold((0, 0), |all, task| (all.0 + task.0, all.1 + task.1))
}

async fn get(client: ApiClient, url: String) -> Result<StatusCode, BoxError> {
    let request = Request::get(url).body(Full::<Bytes>::default())?;
    let response = client.oneshot(request).await?;
    let status = response.status();
    response.into_body().collect().await?;
    Ok(status)
}

/// It goes to stderr, and indicatif draws nothing where that is no terminal.
async fn show_progress() {
    let style = ProgressStyle::with_template("{prefix:>10} [{bar:40}] {pos}/{len} s")
        .expect("the template is valid")
        .progress_chars("=> ");
    let bar = ProgressBar::new(LENGTH.as_secs()).with_style(style).with_prefix("calling");
    for _ in 0..LENGTH.as_secs() {
        sleep(Duration::from_secs(1)).await;
        bar.inc(1);
    }
    bar.finish_and_clear();
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<16}{:>8}{:>10}{:>16}{:>8}{:>9}{:>13}",
            self.name,
            self.calls,
            self.failures,
            self.server.token_requests(),
            self.server.refused(),
            self.replays,
            self.server.lost(),
        )
    }
}

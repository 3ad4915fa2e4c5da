//! 64 tasks make the same calls twice: with hyper's client alone, and with a cache around it. Most
//! of what they ask for is good for a second, comes with a validator, and differs by language or by
//! user; some of it is slow, and some must not be kept.
//!
//! ```sh
//! cargo run --example cache
//! ```
//!
//! [`client`] is the part to copy.

mod client;
mod scene;

use std::{
    fmt,
    io::{Write, stdout},
    process::ExitCode,
    time::Duration,
};

use http_body_util::BodyExt;
use palisade::cache::CacheStatus;
use palisade_testkit::Random;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tower::ServiceExt;

use crate::{client::ApiClient, scene::Api};

const SEED: u64 = 6;
const TASKS: usize = 64;
const CALLS: usize = 32;

/// What became of one call.
#[derive(Clone, Copy)]
struct Done {
    // Whether the answer is that to this very request.
    right: bool,
    took: Duration,
    status: Option<CacheStatus>,
}

/// What the calls of a client came to.
struct Outcome {
    name: &'static str,
    // In the order of how long they took.
    calls: Vec<Done>,
    requests: u64,
    not_modified: u64,
    bytes: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let bare = play("bare", client::bare()).await;
    let cached = play("with a cache", client::cached()).await;

    let mut out = stdout();
    // Whoever closes the pipe has read enough.
    let _ = writeln!(
        out,
        "{:<14}{:>9}{:>10}{:>6}{:>12}{:>8}{:>8}{:>6}{:>11}{:>13}",
        "",
        "answered",
        "requests",
        "304s",
        "bodies/MiB",
        "p50/ms",
        "p95/ms",
        "hits",
        "collapsed",
        "revalidated"
    );
    for outcome in [&bare, &cached] {
        let _ = writeln!(out, "{outcome}");
    }
    let all = TASKS * CALLS;
    if bare.answered() != all || cached.answered() != all {
        eprintln!("error: a call was not answered, or not with what it asked for");
        return ExitCode::FAILURE;
    }
    if bare.requests <= cached.requests || bare.bytes <= cached.bytes {
        eprintln!("error: the cache saved nothing");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

async fn play(name: &'static str, client: ApiClient) -> Outcome {
    let api = Api::start().await;
    let addr = api.server.addr();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let client = client.clone();
        tasks.spawn(async move {
            let mut dice = Random::seeded(SEED + task as u64);
            let mut calls = Vec::with_capacity(CALLS);
            for _ in 0..CALLS {
                sleep(Duration::from_millis(dice.number() % 100)).await;
                let (mut request, text) = scene::request(task, &mut dice);
                let uri = format!("http://{addr}{}", request.uri());
                *request.uri_mut() = uri.parse().expect("the URI is valid");

                let started = Instant::now();
                let response = client.clone().oneshot(request).await.expect("the API answers");
                let status = response.extensions().get().copied();
                let body = response.into_body().collect().await.expect("the API answers whole");
                let took = started.elapsed();
                let right = body.to_bytes().trim_ascii_end() == text.as_bytes();
                calls.push(Done { right, took, status });
            }
            calls
        });
    }
    let mut calls = tasks.join_all().await.concat();
    calls.sort_unstable_by_key(|call| call.took);
    let stats = api.server.stats();
    let (requests, not_modified) = (stats.requests(), stats.answered(304));
    Outcome { name, calls, requests, not_modified, bytes: api.sent() }
}

impl Outcome {
    fn answered(&self) -> usize {
        self.calls.iter().filter(|call| call.right).count()
    }

    fn count(&self, status: CacheStatus) -> usize {
        self.calls.iter().filter(|call| call.status == Some(status)).count()
    }

    /// How many milliseconds so many of a hundred calls took at most.
    fn percentile(&self, percent: usize) -> f64 {
        let index = (self.calls.len() * percent).div_ceil(100).saturating_sub(1);
        self.calls.get(index).map_or(0.0, |call| call.took.as_secs_f64() * 1e3)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<14}{:>9}{:>10}{:>6}{:>12.2}{:>8.2}{:>8.2}{:>6}{:>11}{:>13}",
            self.name,
            self.answered(),
            self.requests,
            self.not_modified,
            self.bytes as f64 / f64::from(1 << 20),
            self.percentile(50),
            self.percentile(95),
            self.count(CacheStatus::Hit),
            self.count(CacheStatus::Collapsed),
            self.count(CacheStatus::Revalidated),
        )
    }
}

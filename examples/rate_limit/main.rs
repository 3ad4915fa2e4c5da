//! 64 tasks call an API that answers a hundred requests a second and refuses the others: first with
//! hyper's client alone, then with a rate limit around it, and then with one that is told no quota and
//! learns it from the answers.
//!
//! ```sh
//! cargo run --example rate_limit
//! ```
//!
//! [`client`] is the part to copy.

mod client;

use std::{
    io::{Write, stdout},
    process::ExitCode,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use palisade::rate_limit::Quota;
use palisade_testkit::{FlakyApi, Reply, Script};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tower::ServiceExt;

use crate::client::ApiClient;

const TASKS: usize = 64;
const QUOTA: u32 = 100;
const WINDOW: Duration = Duration::from_secs(1);
const LENGTH: Duration = Duration::from_secs(5);

/// What the calls of a client came to.
struct Outcome {
    name: &'static str,
    answered: u64,
    refused: u64,
    // Answers of the task with the fewest, and of that with the most.
    fewest: u64,
    most: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let bare = play("bare", client::bare()).await;
    // As the API counts: never more than a hundred in any second.
    let quota = Quota::at_most(QUOTA, WINDOW);
    let limited = play("with a limit", client::limited(quota)).await;
    let learning = play("led by the API", client::learning()).await;

    let mut out = stdout();
    let _ = writeln!(
        out,
        "{:<16}{:>12}{:>12}{:>8}{:>20}",
        "", "answered/s", "429s", "wasted", "answers of a task"
    );
    for outcome in [&bare, &limited, &learning] {
        // Whoever closes the pipe has read enough.
        let _ = writeln!(out, "{outcome}");
    }
    // Each task within a fifth of the mean.
    let mean = limited.answered as f64 / TASKS as f64;
    let fair = 0.8 * mean <= limited.fewest as f64 && limited.most as f64 <= 1.2 * mean;
    // All 64 may be on their way before the first answer tells of the quota.
    if limited.refused == 0 && fair && learning.refused <= TASKS as u64 {
        return ExitCode::SUCCESS;
    }
    eprintln!("error: a client within the quota was refused, or a task was starved");
    ExitCode::FAILURE
}

async fn play(name: &'static str, client: ApiClient) -> Outcome {
    let script = Script::new().route("/", Reply::ok("hello")).limit("/", QUOTA.into(), WINDOW);
    let api = FlakyApi::start(script).await;
    let until = Instant::now() + LENGTH;
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let (client, url) = (client.clone(), api.url("/"));
        tasks.spawn(async move {
            let mut counts = [0_u64; 2];
            loop {
                let request = Request::get(&url).body(Full::<Bytes>::default());
                let call = client.clone().oneshot(request.expect("the URL is valid"));
                match timeout_at(until, call).await {
                    Err(_) => break counts,
                    Ok(result) => {
                        let response = result.expect("the API answers");
                        let refused = response.status() == StatusCode::TOO_MANY_REQUESTS;
                        counts[usize::from(refused)] += 1;
                        let _ = response.into_body().collect().await;
                    }
                }
            }
        });
    }
    let counts = tasks.join_all().await;
    let answers = || counts.iter().map(|[answered, _]| *answered);
    Outcome {
        name,
        answered: answers().sum(),
        refused: counts.iter().map(|[_, refused]| refused).sum(),
        fewest: answers().min().unwrap_or_default(),
        most: answers().max().unwrap_or_default(),
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = self.answered + self.refused;
        write!(
            f,
            "{:<16}{:>12.1}{:>12}{:>7.1}%{:>15} to {}",
            self.name,
            self.answered as f64 / LENGTH.as_secs_f64(),
            self.refused,
            100.0 * self.refused as f64 / all.max(1) as f64,
            self.fewest,
            self.most,
        )
    }
}

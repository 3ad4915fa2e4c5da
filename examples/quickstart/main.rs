//! The same calls to a flaky API, first with hyper's client alone, then with a retry layer around
//! it.
//!
//! ```sh
//! cargo run --example quickstart
//! cargo run --example quickstart -- --url http://127.0.0.1:8000/
//! ```
//!
//! [`client`] is the part to copy.

mod client;
mod options;
mod report;
mod run;
mod scene;
mod tally;

use std::{
    io::{Write, stdout},
    process::ExitCode,
    sync::Arc,
};

use clap::Parser;
use http::Request;
use http_body_util::Full;
use palisade_testkit::FlakyApi;

use crate::{
    client::ApiClient,
    options::{Options, connect},
    report::{Outcome, Table, sentence},
    run::run,
    scene::Scene,
    tally::Tally,
};

/// How many calls may fail that may be sent again: none, whatever the seed, as the script lets no
/// such call fail as often as there are attempts.
const MAY_BE_LOST: u64 = 0;

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(url) = &options.url
        && let Err(problem) = connect(url).await
    {
        eprintln!("error: cannot connect to {url}: {problem}");
        eprintln!("Start the server, or leave --url away to use the scripted API.");
        return ExitCode::FAILURE;
    }

    let tally = Arc::new(Tally::default());
    let bare = play(&options, "bare", client::bare(), &Tally::default()).await;
    let retried = client::with_retry(tally.clone());
    let retried = play(&options, "with retry", retried, &tally).await;

    let table = Table::new(&bare, &retried);
    let sentence = sentence(&bare, &retried);
    // Whoever closes the pipe has read enough.
    let _ = writeln!(stdout(), "{options}\n\n{table}\n\n{sentence}");
    let lost = retried.lost();
    // Of a server that is not ours nothing can be expected.
    if options.url.is_none() && MAY_BE_LOST < lost {
        eprintln!("error: {lost} calls failed that retry should have saved");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Makes all calls with one client.
async fn play(options: &Options, name: &'static str, client: ApiClient, tally: &Tally) -> Outcome {
    let Some(url) = &options.url else {
        return play_scene(options, name, client, tally).await;
    };
    let request = Request::get(url).body(Full::default());
    let requests = vec![request.expect("the URL was checked"); options.requests];
    let answers = run(name, client, requests, options.concurrency).await;
    let counts = tally.counts();
    Outcome {
        // Counted on this side, as nobody else tells.
        attempts: answers.len() as u64 + counts.retries,
        answers,
        connections: None,
        stops: counts.stops,
    }
}

/// As [`play`], against a server that starts the script anew.
async fn play_scene(
    options: &Options,
    name: &'static str,
    client: ApiClient,
    tally: &Tally,
) -> Outcome {
    let mut scene = Scene::new(options.seed, options.requests);
    let api = FlakyApi::start(scene.script).await;
    for request in &mut scene.requests {
        *request.uri_mut() = api.url(request.uri().path());
    }
    let answers = run(name, client, scene.requests, options.concurrency).await;
    let stats = api.stats();
    Outcome {
        answers,
        attempts: stats.requests(),
        connections: Some(stats.connections()),
        stops: tally.counts().stops,
    }
}

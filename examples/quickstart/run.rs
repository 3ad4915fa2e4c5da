//! Sends the requests, so many at a time, and writes down what became of them.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use indicatif::{ProgressBar, ProgressStyle};
use palisade::core::ErrorKind;
use tokio::{task::JoinSet, time::Instant};
use tower::ServiceExt;

use crate::client::ApiClient;

/// What became of one call, its retries included.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) elapsed: Duration,
    /// The status or the kind of the error.
    pub(crate) result: Result<(), String>,
}

/// Makes the calls, at most `concurrency` at a time.
pub(crate) async fn run(
    name: &'static str,
    client: ApiClient,
    requests: Vec<Request<Full<Bytes>>>,
    concurrency: usize,
) -> Vec<Answer> {
    let bar = progress_bar(name, requests.len());
    let mut calls = JoinSet::new();
    let mut answers = Vec::with_capacity(requests.len());
    for request in requests {
        if calls.len() == concurrency {
            answers.extend(calls.join_next().await);
        }
        let (client, bar) = (client.clone(), bar.clone());
        calls.spawn(async move {
            let answer = call(client, request).await;
            bar.inc(1);
            answer
        });
    }
    while let Some(answer) = calls.join_next().await {
        answers.push(answer);
    }
    bar.finish_and_clear();
    let answers = answers.into_iter().collect::<Result<_, _>>();
    answers.expect("no call panics or is cancelled")
}

async fn call(client: ApiClient, request: Request<Full<Bytes>>) -> Answer {
    let start = Instant::now();
    let result = fetch(client, request).await;
    Answer { elapsed: start.elapsed(), result }
}

async fn fetch(client: ApiClient, request: Request<Full<Bytes>>) -> Result<(), String> {
    let response = client.oneshot(request).await;
    let response = response.map_err(|error| ErrorKind::of(&*error).to_string())?;
    let status = response.status();
    let mut body = response.into_body();
    // To the end even if it is of no interest, or the connection could not be used again.
    while let Some(frame) = body.frame().await {
        frame.map_err(|error| ErrorKind::of(&error).to_string())?;
    }
    match status.is_success() {
        true => Ok(()),
        false => Err(status.as_str().to_owned()),
    }
}

/// It goes to stderr, and indicatif draws nothing where that is no terminal.
fn progress_bar(name: &'static str, calls: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:>10} [{bar:40}] {pos}/{len}")
        .expect("the template is valid")
        .progress_chars("=> ");
    ProgressBar::new(calls as u64).with_style(style).with_prefix(name)
}

//! Makes the calls at a steady rate, and writes down what became of them.

use std::time::Duration;

use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use palisade::{circuit_breaker::Open, core::find_cause};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tower::ServiceExt;

use crate::{
    client::ApiClient,
    scene::{CALLS, PACE, ROWS},
};

/// What became of one call.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) sent: Duration,
    pub(crate) took: Duration,
    pub(crate) end: End,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Succeeded,
    Failed,
    /// By the breaker: the API has not seen it.
    Refused,
}

/// Makes a call at every beat, whatever becomes of those before; gives a set of calls for each row.
pub(crate) fn send_all(client: &ApiClient, url: &Uri, start: Instant) -> Vec<JoinSet<Answer>> {
    let send = |number| {
        let (client, url) = (client.clone(), url.clone());
        async move {
            sleep_until(start + PACE * number).await;
            let sent = start.elapsed();
            let end = call(client, url).await;
            Answer { sent, took: start.elapsed() - sent, end }
        }
    };
    let row = |row| (row * CALLS..(row + 1) * CALLS).map(send).collect();
    (0..ROWS).map(row).collect()
}

async fn call(client: ApiClient, url: Uri) -> End {
    let request = Request::get(url).body(Full::default()).expect("the URL is valid");
    let response = match client.oneshot(request).await {
        Ok(response) => response,
        Err(error) => {
            return match find_cause::<Open>(&*error) {
                Some(_) => End::Refused,
                None => End::Failed,
            };
        }
    };
    let status = response.status();
    // To the end even if it is of no interest, or the connection could not be used again.
    match response.into_body().collect().await {
        Ok(_) if status.is_success() => End::Succeeded,
        _ => End::Failed,
    }
}

use std::{fmt, future::poll_fn, time::Duration};

use http::{Request, Response, StatusCode};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use palisade_retry::{Backoff, RetryLayer};
use tokio::{runtime::Builder, select, time::sleep};
use tower::Layer;
use tower_service::Service;

use crate::{inner::Body, row::Row, server::LateBodies, subjects};

const ATTEMPTS: u32 = 20;

/// The body comes after the back-off: only who waits for it can use the connection again.
pub(super) fn short_wait(bench: &'static str) -> Vec<Row> {
    play(bench, Duration::from_millis(1))
}

/// The body comes during the back-off: who reads the answer can use the connection again, and so
/// can who holds it unread, for hyper reads that far ahead.
pub(super) fn long_wait(bench: &'static str) -> Vec<Row> {
    play(bench, Duration::from_millis(10))
}

/// One call, twenty attempts, each answered with 503 and a body that comes 5 ms after its head.
///
/// Who drops an answer before its body has come closes the connection, and pays for the next one.
fn play(bench: &'static str, backoff: Duration) -> Vec<Row> {
    let row = |subject, connections| Row {
        bench,
        subject,
        figures: vec![("connections", f64::from(connections))],
    };
    vec![
        row(
            "palisade",
            connections(async |uri| {
                let layer =
                    RetryLayer::http().attempts(ATTEMPTS).backoff(Backoff::constant(backoff));
                call(layer.layer(client()), uri).await
            }),
        ),
        row(
            "tower",
            connections(async |uri| {
                let service = subjects::tower::retry(client(), ATTEMPTS, move || sleep(backoff));
                call(service, uri).await
            }),
        ),
        row(
            "tower-resilience",
            connections(async |uri| {
                let layer = subjects::tower_resilience::retry(ATTEMPTS as usize, backoff);
                call(layer.layer(client()), uri).await
            }),
        ),
        row(
            "reqwest-retry",
            connections(async |uri| {
                let retry = subjects::reqwest_retry::middleware(ATTEMPTS, backoff);
                let client = subjects::reqwest::builder(false).with(retry).build();
                client.get(uri).send().await.expect("an answer").status()
            }),
        ),
    ]
}

/// Has a server of its own called, and counts the connections that it accepts.
fn connections(call: impl AsyncFnOnce(&str) -> StatusCode) -> u32 {
    let runtime =
        Builder::new_current_thread().enable_all().build().expect("the system has a poll for us");

    runtime.block_on(async {
        let server = LateBodies::bind().await.expect("loopback has a free port");
        let uri = server.uri();
        let status = select! {
            status = call(&uri) => status,
            Err(error) = server.serve() => panic!("the server stops: {error}"),
        };

        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            server.requests(),
            ATTEMPTS,
            "a subject that gives up early needs few connections"
        );
        server.connections()
    })
}

fn client() -> Client<HttpConnector, Body> {
    Client::builder(TokioExecutor::new()).build_http()
}

async fn call<S, ResB>(mut service: S, uri: &str) -> StatusCode
where
    S: Service<Request<Body>, Response = Response<ResB>, Error: fmt::Debug>,
{
    poll_fn(|cx| service.poll_ready(cx)).await.expect("a ready client");
    let answer = service.call(request(uri)).await;
    answer.expect("an answer").status()
}

fn request(uri: &str) -> Request<Body> {
    let mut request = Request::new(Body::default());
    *request.uri_mut() = uri.parse().expect("the server's URI is valid");
    request
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn tells_who_reads_to_the_end_from_who_does_not() {
        for (reads, expected) in [(true, 1), (false, ATTEMPTS)] {
            let connections = connections(async |uri| {
                let mut client = client();
                for _ in 1..ATTEMPTS {
                    let mut answer = client.call(request(uri)).await.unwrap();
                    while reads && answer.frame().await.is_some() {}
                    drop(answer);
                    sleep(Duration::from_millis(1)).await;
                }
                call(client, uri).await
            });
            assert_eq!(connections, expected, "reads: {reads}");
        }
    }
}

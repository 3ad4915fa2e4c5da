//! Metrics of calls and attempts around retry and breaker, over sockets.

use std::sync::Arc;

use http::StatusCode;
use palisade_core::{ErrorKind, Observer};
use palisade_metrics::Registry;
use palisade_testkit::{FlakyApi, Reply, Script};
use tower::{ServiceBuilder, ServiceExt};

use crate::support::{breaker, get, http1, read, retry};

#[tokio::test(start_paused = true)]
async fn a_call_is_one_and_its_attempts_are_three() {
    let down = Reply::status(503);
    let script = Script::new().route("/", [down.clone(), Reply::reset(), Reply::ok("hello")]);
    let api = FlakyApi::start(script).await;
    let metrics = Registry::new();
    let client = ServiceBuilder::new()
        .layer(metrics.calls())
        .layer(retry().observer(metrics.observer()))
        .layer(metrics.attempts())
        .service(http1());
    let response = client.oneshot(get(api.url("/"))).await.unwrap();
    assert_eq!(read(response).await.unwrap(), "hello");

    let snapshot = metrics.snapshot();
    assert_eq!((snapshot.calls.count(), snapshot.calls.status(200)), (1, 1));
    assert_eq!(snapshot.attempts.count(), 3);
    assert_eq!((snapshot.attempts.status(503), snapshot.attempts.status(200)), (1, 1));
    assert_eq!(snapshot.attempts.errors(ErrorKind::Closed), 1);
    assert_eq!(snapshot.attempts_per_call(), Some(3.0));
    assert_eq!((snapshot.calls.in_flight(), snapshot.attempts.in_flight()), (0, 0));
    assert_eq!(snapshot.calls.success_rate(), Some(1.0));
    let causes = snapshot.events.iter().filter(|event| event.event == "retry");
    let causes: Vec<_> =
        causes.map(|event| (event.cause.as_deref().unwrap(), event.count)).collect();
    assert_eq!(causes, [("closed", 1), ("503", 1)]);
}

#[tokio::test(start_paused = true)]
async fn what_a_breaker_refuses_is_a_call_without_an_attempt() {
    let api = FlakyApi::start(Script::new().route("/", Reply::status(503))).await;
    let metrics = Registry::new();
    let observer: Arc<dyn Observer> = metrics.observer();
    let client = ServiceBuilder::new()
        .layer(metrics.calls())
        .layer(breaker().observer(observer))
        .layer(metrics.attempts())
        .service(http1());
    for _ in 0..3 {
        let response = client.clone().oneshot(get(api.url("/"))).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        read(response).await.unwrap();
    }
    assert!(client.oneshot(get(api.url("/"))).await.is_err());

    let snapshot = metrics.snapshot();
    assert_eq!((snapshot.calls.count(), snapshot.attempts.count()), (4, 3));
    assert_eq!(snapshot.calls.errors(ErrorKind::Open), 1);
    assert_eq!(snapshot.calls.outcomes().of("refused"), 1);
    assert_eq!(snapshot.breakers[0].state, "open");
    // The server has counted the same.
    assert_eq!(snapshot.attempts.status(503), api.stats().answered(503));
}

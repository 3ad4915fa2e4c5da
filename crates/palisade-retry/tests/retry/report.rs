use std::{io::ErrorKind, sync::Arc};

use http::Method;
use palisade_core::Endpoint;
use palisade_retry::{Backoff, Jitter, RetryInfo, RetryLayer, Stop};
use palisade_testkit::RecordingObserver;
use tower::{Layer, ServiceExt};

use crate::upstream::{Answer, MS, Upstream, error, request, status};

static LIST_USERS: Endpoint = Endpoint::new(Method::GET, "/users");

async fn observe(method: &str, answers: Vec<Answer>) -> Vec<String> {
    let recorder = Arc::new(RecordingObserver::new());
    let client = RetryLayer::http()
        .backoff(Backoff::constant(20 * MS).jitter(Jitter::None))
        .observer(recorder.clone())
        .layer(Upstream::new(answers));
    let mut request = request(method);
    LIST_USERS.put_into(request.extensions_mut());
    let _ = client.oneshot(request).await;
    let recorded = recorder.take();
    for recorded in &recorded {
        assert_eq!(recorded.endpoint, Some(&LIST_USERS));
        assert_eq!(recorded.method.as_ref().unwrap(), method);
        assert_eq!(recorded.authority.as_deref(), Some("api.example"));
    }
    recorded.into_iter().map(|recorded| recorded.event).collect()
}

#[tokio::test(start_paused = true)]
async fn an_observer_is_told_of_retries_and_their_end() {
    let events =
        observe("GET", vec![status(503), error(ErrorKind::ConnectionRefused), status(429)]).await;
    assert_eq!(
        events,
        [
            "Retry { attempt: 1, delay: 20ms, cause: Cause { outcome: Transient, result: Ok(503) } }",
            "Retry { attempt: 2, delay: 20ms, cause: Cause { outcome: Unsent, result: Err(Connect) } }",
            "GaveUp { attempts: 3, delay: 40ms, reason: \"attempts\", cause: Cause { outcome: Throttled, result: Ok(429) } }",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_observer_is_told_what_was_not_retried_and_nothing_of_success() {
    let events = observe("POST", vec![error(ErrorKind::ConnectionReset)]).await;
    assert_eq!(
        events,
        [
            "GaveUp { attempts: 1, delay: 0ns, reason: \"not_idempotent\", cause: Cause { outcome: Transient, result: Err(Closed) } }"
        ]
    );
    let events = observe("GET", vec![status(503)]).await;
    assert_eq!(
        events[1..],
        [
            "Settled { attempts: 2, delay: 20ms, cause: Cause { outcome: Success, result: Ok(200) } }"
        ]
    );
    assert!(observe("GET", vec![]).await.is_empty());
    assert!(observe("GET", vec![status(404)]).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_when_nothing_is_retried() {
    for code in [200, 404, 501] {
        let client = RetryLayer::http().layer(Upstream::new([status(code)]));
        let response = client.oneshot(request("GET")).await.unwrap();
        assert!(response.extensions().is_empty(), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_response_says_what_was_done() {
    let client = RetryLayer::http()
        .backoff(Backoff::constant(20 * MS).jitter(Jitter::None))
        .layer(Upstream::new((0..3).map(|_| status(503))));
    let response = client.oneshot(request("GET")).await.unwrap();
    let info: &RetryInfo = response.extensions().get().unwrap();
    assert_eq!((info.attempts(), info.delay(), info.stop()), (3, 40 * MS, Some(Stop::Attempts)));
}

#[tokio::test(start_paused = true)]
async fn the_last_answer_is_returned_untouched() {
    use http_body_util::BodyExt;
    let client = RetryLayer::http().layer(Upstream::new((0..3).map(|_| status(503))));
    let response = client.oneshot(request("GET")).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "it failed");
}

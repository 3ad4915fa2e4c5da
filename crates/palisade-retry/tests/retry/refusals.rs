//! What a layer on this side refuses has cost the service nothing.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode};
use palisade_core::{Attempt, ErrorKind as Kind, Refusal};
use palisade_retry::{RetryInfo, RetryLayer, Stop, TokenBudget};
use palisade_testkit::RecordingObserver;
use tokio::time::Instant;
use tower::{Layer, ServiceExt};

use crate::upstream::{Answer, MS, SECOND, Upstream, request, status};

fn refused(refusal: Refusal) -> Answer {
    Answer::Fail(refusal.into())
}

fn open() -> Answer {
    refused(Refusal::new(Kind::Open).after(SECOND))
}

fn times(times: usize, answer: impl Fn() -> Answer) -> impl Iterator<Item = Answer> {
    (0..times).map(move |_| answer())
}

#[tokio::test(start_paused = true)]
async fn is_waited_for_when_it_says_until_when_or_a_limiter_has_it() {
    for (refusal, seen) in [
        (Refusal::new(Kind::Open), 1),
        (Refusal::new(Kind::Open).after(SECOND), 6),
        (Refusal::new(Kind::Open).after(31 * SECOND), 1),
        (Refusal::new(Kind::Limited), 6),
        (Refusal::new(Kind::Limited).after(SECOND), 6),
    ] {
        let upstream = Upstream::new(times(5, || refused(refusal)));
        let client = RetryLayer::http().layer(upstream.clone());
        let result = client.oneshot(request("POST")).await;
        assert_eq!((upstream.count(), result.is_ok()), (seen, seen == 6), "{refusal:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn takes_neither_attempts_nor_budget() {
    for (before, budget, attempts) in [(0, 0, 1), (1, 1, 2), (2, 2, 3)] {
        let answers = times(before, || status(503)).chain(times(9, open));
        let upstream = Upstream::new(answers);
        let budget = TokenBudget::new(0.0, budget);
        let layer = RetryLayer::http().attempts(before as u32 + 1).budget(budget.clone());
        let layer = if before == 0 { layer.attempts(2) } else { layer };
        let response = layer.layer(upstream.clone()).oneshot(request("PUT")).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(upstream.count(), before + 9 + 1);
        let info: &RetryInfo = response.extensions().get().unwrap();
        assert_eq!((info.attempts(), info.stop()), (attempts, None));
        assert_eq!(budget.available(), 0);
        let bodies = upstream.take();
        assert!(bodies.iter().all(|seen| seen.body == "the body"));
    }
}

#[tokio::test(start_paused = true)]
async fn leaves_what_was_left_for_failures() {
    let upstream = Upstream::new(times(3, open).chain(times(9, || status(503))));
    let client = RetryLayer::http().budget(TokenBudget::new(0.0, 2)).layer(upstream.clone());
    let response = client.oneshot(request("GET")).await.unwrap();
    let info: &RetryInfo = response.extensions().get().unwrap();
    assert_eq!((info.attempts(), info.stop()), (3, Some(Stop::Attempts)));
    assert_eq!(upstream.count(), 3 + 3);
}

#[tokio::test(start_paused = true)]
async fn does_not_count_as_sent() {
    let name = HeaderName::from_static("x-attempt");
    let answers = [open(), status(503), open(), open(), status(503)];
    let upstream = Upstream::new(answers);
    let client = RetryLayer::http().attempt_header(name.clone()).layer(upstream.clone());
    client.oneshot(request("GET")).await.unwrap();
    let seen = upstream.take();
    let numbers = seen.iter().map(|seen| seen.head.headers.get(&name).cloned());
    let second = || Some(HeaderValue::from(2));
    let third = Some(HeaderValue::from(3));
    assert_eq!(numbers.collect::<Vec<_>>(), [None, None, second(), second(), second(), third]);
    let resends = seen.iter().map(|seen| Attempt::of(&seen.head.extensions).resends());
    assert_eq!(resends.collect::<Vec<_>>(), [0, 0, 1, 1, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn is_waited_for_as_long_as_it_says_and_by_each_for_another_time() {
    let mut waits = Vec::new();
    for seed in 0..20 {
        let upstream = Upstream::new([open()]);
        let client = RetryLayer::http().seed(seed).layer(upstream.clone());
        client.oneshot(request("GET")).await.unwrap();
        waits.push(upstream.times()[1]);
    }
    assert!(waits.iter().all(|wait| (1_001..=1_501).contains(wait)), "{waits:?}");
    waits.sort_unstable();
    assert!(200 < waits[19] - waits[0], "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn is_waited_for_within_the_deadline() {
    let upstream = Upstream::new(times(100, open));
    let client = RetryLayer::http().deadline(10 * SECOND).layer(upstream.clone());
    let start = Instant::now();
    let error = client.oneshot(request("GET")).await.unwrap_err();
    assert!(error.is::<Refusal>());
    assert!(start.elapsed() < 10 * SECOND);
    // Until another second does not fit.
    assert!(8_900 * MS < start.elapsed(), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn is_waited_for_as_long_as_one_hint_where_there_is_no_deadline() {
    let recorder = Arc::new(RecordingObserver::new());
    let upstream = Upstream::new(times(1000, || refused(Refusal::new(Kind::Limited))));
    let client = RetryLayer::http().observer(recorder.clone()).layer(upstream.clone());
    let start = Instant::now();
    client.oneshot(request("GET")).await.unwrap_err();
    // Each delay is rounded up to a millisecond.
    let elapsed = start.elapsed();
    assert!((29 * SECOND..30 * SECOND + 100 * MS).contains(&elapsed), "{elapsed:?}");
    let told = recorder.take().pop().unwrap().event;
    assert!(told.starts_with("GaveUp { attempts: 0,") && told.contains("\"hint\""), "{told}");
}

#[tokio::test(start_paused = true)]
async fn is_the_answer_where_a_request_is_sent_once() {
    let upstream = Upstream::new([open()]);
    let client = RetryLayer::http().attempts(1).layer(upstream.clone());
    assert!(client.oneshot(request("GET")).await.unwrap_err().is::<Refusal>());
    assert_eq!(upstream.count(), 1);
}

use std::{io::ErrorKind, sync::Arc};

use http::{HeaderName, HeaderValue, StatusCode, header::AUTHORIZATION};
use palisade_core::{Attempt, ErrorKind as Kind, Outcome, classify_fn};
use palisade_retry::{
    AttemptTimedOut, Backoff, IdempotentOnly, Jitter, Repeatable, RetryInfo, RetryLayer,
    RetryOverride, Stop,
};
use tower::{BoxError, Layer, ServiceExt};

use crate::upstream::{Answer, MS, SECOND, Upstream, error, request, status, with};

/// Sends one request, and says how many attempts were made and why no more.
async fn send(method: &str, answer: impl Fn() -> Answer) -> (usize, Option<Stop>) {
    let upstream = Upstream::new((0..10).map(|_| answer()));
    let client = RetryLayer::http().layer(upstream.clone());
    let stop = match client.oneshot(request(method)).await {
        Ok(response) => response.extensions().get().and_then(RetryInfo::stop),
        Err(_) => None,
    };
    (upstream.count(), stop)
}

#[tokio::test(start_paused = true)]
async fn retries_what_may_pass_and_may_be_repeated() {
    let attempts = Some(Stop::Attempts);
    for (code, get, post) in [
        (200, (1, None), (1, None)),
        (404, (1, None), (1, None)),
        (408, (3, attempts), (1, Some(Stop::NotIdempotent))),
        (429, (3, attempts), (3, attempts)),
        (500, (3, attempts), (1, Some(Stop::NotIdempotent))),
        (501, (1, None), (1, None)),
        (503, (3, attempts), (1, Some(Stop::NotIdempotent))),
    ] {
        assert_eq!(send("GET", || status(code)).await, get, "GET, {code}");
        assert_eq!(send("PUT", || status(code)).await, get, "PUT, {code}");
        assert_eq!(send("POST", || status(code)).await, post, "POST, {code}");
    }
    for (kind, get, post) in [
        (ErrorKind::ConnectionRefused, 3, 3),
        (ErrorKind::ConnectionReset, 3, 1),
        (ErrorKind::TimedOut, 3, 1),
        (ErrorKind::InvalidData, 1, 1),
    ] {
        assert_eq!(send("GET", || error(kind)).await.0, get, "GET, {kind}");
        assert_eq!(send("POST", || error(kind)).await.0, post, "POST, {kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_attempt_sends_the_same_request() {
    let upstream = Upstream::new([status(503), error(ErrorKind::ConnectionReset)]);
    let client = RetryLayer::http().layer(upstream.clone());
    let mut request = request("PUT");
    let mut token = HeaderValue::from_static("Bearer secret");
    token.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, token);
    request.extensions_mut().insert(7_u32);
    let expected = request.clone().into_parts().0;

    client.oneshot(request).await.unwrap();

    let seen = upstream.take();
    assert_eq!(seen.len(), 3);
    for seen in seen {
        assert_eq!(seen.head.method, expected.method);
        assert_eq!(seen.head.uri, expected.uri);
        assert_eq!(seen.head.version, expected.version);
        let fields: Vec<_> = seen.head.headers.iter().collect();
        assert_eq!(fields, expected.headers.iter().collect::<Vec<_>>());
        assert!(seen.head.headers[AUTHORIZATION].is_sensitive());
        assert_eq!(seen.head.extensions.get::<u32>(), Some(&7));
        assert_eq!(seen.body, "the body");
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_attempt_writes_into_the_extensions_is_not_seen_by_the_next() {
    let upstream = Upstream::new([status(503)]);
    let marking = tower::util::MapRequestLayer::new(|mut request: http::Request<_>| {
        assert!(request.extensions().get::<&str>().is_none());
        request.extensions_mut().insert("written by an attempt");
        request
    });
    let client = RetryLayer::http().layer(marking.layer(upstream.clone()));
    client.oneshot(request("GET")).await.unwrap();
    assert_eq!(upstream.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_request_may_set_its_own_limits() {
    for (wish, method, attempts) in [
        (RetryOverride::new().attempts(5), "GET", 5),
        (RetryOverride::new().attempts(1), "GET", 1),
        (RetryOverride::new().repeatable(Repeatable::Always), "POST", 3),
        (RetryOverride::new().repeatable(Repeatable::Never), "GET", 1),
        (RetryOverride::new().deadline(30 * MS), "GET", 2),
    ] {
        let upstream = Upstream::new((0..10).map(|_| status(503)));
        let backoff = Backoff::constant(20 * MS).jitter(Jitter::None);
        let client = RetryLayer::http().backoff(backoff).layer(upstream.clone());
        let mut request = request(method);
        request.extensions_mut().insert(wish);
        client.oneshot(request).await.unwrap();
        assert_eq!(upstream.count(), attempts, "{wish:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_idempotent_can_be_left_alone() {
    let upstream = Upstream::new((0..10).map(|_| status(429)));
    let client = RetryLayer::http().requests(IdempotentOnly).layer(upstream.clone());
    let response = client.oneshot(request("POST")).await.unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(response.extensions().is_empty());
    assert_eq!(upstream.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn results_can_be_judged_by_a_function() {
    let upstream = Upstream::new([status(202), status(202)]);
    let classify = classify_fn(|result: Result<&http::Response<_>, &BoxError>| match result {
        Ok(response) if response.status() == StatusCode::ACCEPTED => Outcome::Transient,
        _ => Outcome::Success,
    });
    let client = RetryLayer::new(classify).layer(upstream.clone());
    let response = client.oneshot(request("GET")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(upstream.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn further_attempts_carry_their_number() {
    let upstream = Upstream::new([status(503), status(503)]);
    let name = HeaderName::from_static("x-attempt");
    let client = RetryLayer::http().attempt_header(name.clone()).layer(upstream.clone());
    client.oneshot(request("GET")).await.unwrap();
    let numbers: Vec<_> =
        upstream.take().iter().map(|seen| seen.head.headers.get(&name).cloned()).collect();
    assert_eq!(numbers, [None, Some(HeaderValue::from(2)), Some(HeaderValue::from(3))]);
}

#[tokio::test(start_paused = true)]
async fn further_attempts_say_how_often_the_request_was_sent() {
    // A layer outside has sent it again already.
    for (before, expected) in [(0, [0, 1, 2]), (1, [1, 2, 3])] {
        let upstream = Upstream::new([status(503), error(ErrorKind::ConnectionReset)]);
        let client = RetryLayer::http().layer(upstream.clone());
        let mut request = request("GET");
        (0..before).for_each(|_| Attempt::count_resend(request.extensions_mut()));
        client.oneshot(request).await.unwrap();
        let seen = upstream.take();
        let resends: Vec<_> =
            seen.iter().map(|seen| Attempt::of(&seen.head.extensions).resends()).collect();
        assert_eq!(resends, expected);
        assert_eq!(seen[0].head.extensions.get::<Attempt>().is_some(), before != 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_generated_key_makes_a_request_repeatable() {
    let generate = |_: palisade_core::Head<'_>| HeaderValue::from_static("generated");
    for (method, own, expected) in
        [("POST", None, Some("generated")), ("POST", Some("own"), Some("own")), ("GET", None, None)]
    {
        let upstream = Upstream::new([status(503)]);
        let client = RetryLayer::http().idempotency_key(generate).layer(upstream.clone());
        let mut request = request(method);
        if let Some(own) = own {
            request.headers_mut().insert("idempotency-key", HeaderValue::from_static(own));
        }
        client.oneshot(request).await.unwrap();
        let seen = upstream.take();
        assert_eq!(seen.len(), 2);
        for seen in seen {
            let key = seen.head.headers.get("idempotency-key");
            assert_eq!(key.map(|key| key.to_str().unwrap()), expected, "{method} {own:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_is_given_up() {
    let hang = || Answer::Hang;
    let upstream = Upstream::new([hang(), status(200)]);
    let backoff = Backoff::constant(20 * MS).jitter(Jitter::None);
    let layer = || RetryLayer::http().backoff(backoff).attempt_timeout(SECOND);
    let client = layer().layer(upstream.clone());
    let start = tokio::time::Instant::now();
    assert_eq!(client.oneshot(request("GET")).await.unwrap().status(), StatusCode::OK);
    assert_eq!(start.elapsed(), SECOND + 20 * MS);

    let upstream = Upstream::new([hang(), hang(), hang()]);
    let error = layer().layer(upstream.clone()).oneshot(request("GET")).await.unwrap_err();
    assert_eq!(error.downcast::<AttemptTimedOut>().unwrap().limit(), SECOND);
    assert_eq!(upstream.count(), 3);

    // A post may have been processed. It is cut off as well, and not repeated.
    let upstream = Upstream::new([hang()]);
    let error = layer().layer(upstream.clone()).oneshot(request("POST")).await.unwrap_err();
    assert_eq!(Kind::of(&*error), Kind::Timeout);
    assert_eq!(upstream.count(), 1);

    // So is one that is never retried.
    let upstream = Upstream::new([hang()]);
    let client = layer().attempts(1).layer(upstream.clone());
    assert!(client.oneshot(request("GET")).await.unwrap_err().is::<AttemptTimedOut>());
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_hand_beats_the_attempt_timeout() {
    let slow = tower::service_fn(|_: http::Request<_>| async {
        tokio::time::sleep(SECOND).await;
        Ok::<_, BoxError>(http::Response::new(http_body_util::Full::<bytes::Bytes>::default()))
    });
    let client = RetryLayer::http().attempt_timeout(SECOND).layer(slow);
    assert!(client.oneshot(request("GET")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn settings_from_outside_are_checked() {
    let layer = || -> RetryLayer { RetryLayer::http() };
    assert!(layer().try_attempts(0).is_err());
    assert!(layer().try_deadline(std::time::Duration::ZERO).is_err());
    assert!(layer().try_attempt_timeout(std::time::Duration::ZERO).is_err());
    assert!(RetryOverride::new().try_attempts(0).is_err());
    let invalid = RetryOverride::new().try_deadline(std::time::Duration::ZERO).unwrap_err();
    assert!(invalid.to_string().contains("write `attempts(1)`"));
}

#[test]
#[should_panic(expected = "write `attempts(1)` for no retry")]
fn settings_in_the_program_panic() {
    let _: RetryLayer = RetryLayer::http().attempts(0);
}

#[tokio::test(start_paused = true)]
async fn an_endless_deadline_is_none() {
    let upstream = Upstream::new([status(503)]);
    let client = RetryLayer::http().deadline(std::time::Duration::MAX).layer(upstream.clone());
    assert_eq!(client.oneshot(request("GET")).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_layer_can_be_shared_and_then_changed() {
    let layer = Arc::new(RetryLayer::http());
    let other = RetryLayer::clone(&layer).attempts(5);
    let upstream = Upstream::new((0..8).map(|_| with(503, &[])));
    layer.layer(upstream.clone()).oneshot(request("GET")).await.unwrap();
    assert_eq!(upstream.take().len(), 3);
    other.layer(upstream.clone()).oneshot(request("GET")).await.unwrap();
    assert_eq!(upstream.take().len(), 5);
}

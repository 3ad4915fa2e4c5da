//! Limits in servers, and deadlines.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use palisade_core::{Deadline, find_cause};
use palisade_fields::Allowances;
use palisade_rate_limit::{
    ByClient, Limited, LimitedReason, Quota, RateLimitLayer, Wait, respond_fn,
};
use tokio::time::{Instant, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

/// A body that is neither empty by default nor made of text by itself.
type Body = Full<Bytes>;

fn handler()
-> impl Service<Request<()>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone {
    service_fn(|_: Request<()>| async { Ok(Response::new(Body::from("hello"))) })
}

fn number(response: &Response<Body>, name: &str) -> Option<u64> {
    response.headers().get(name)?.to_str().ok()?.parse().ok()
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_rounded_up_and_never_zero() {
    for (period, expected) in [(1, 1), (999, 1), (1000, 1), (1001, 2), (1999, 2), (3_600_000, 3600)]
    {
        let service = RateLimitLayer::new(Quota::every(Duration::from_millis(period)))
            .wait(Wait::reject())
            .on_refusal(respond_fn(Limited::response))
            .layer(handler());
        service.clone().oneshot(Request::default()).await.unwrap();
        let refused = service.oneshot(Request::default()).await.unwrap();
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(number(&refused, "retry-after"), Some(expected), "{period} ms");
        let limits = Allowances::of(refused.headers(), || unreachable!());
        let limit = limits.iter().next().unwrap();
        assert_eq!((limit.remaining, limit.reset), (Some(0), Some(SECOND * expected as u32)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_tells_the_quota_that_it_breaks() {
    let service = RateLimitLayer::new(Quota::per_hour(1000).burst(1000))
        .and(Quota::per_second(2).burst(2))
        .wait(Wait::reject())
        .on_refusal(respond_fn(Limited::problem))
        .layer(handler());
    for _ in 0..2 {
        service.clone().oneshot(Request::default()).await.unwrap();
    }
    let refused = service.oneshot(Request::default()).await.unwrap();
    assert_eq!(refused.headers()["ratelimit"], r#""2-in-1s";r=0;t=1"#);
    assert_eq!(refused.headers()["ratelimit-policy"], r#""2-in-1s";q=2;w=1"#);
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    let body = refused.into_body().collect().await.unwrap().to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(
        (&problem["status"], &problem["violated-policies"][0]),
        (&429.into(), &"2-in-1s".into())
    );
}

#[tokio::test(start_paused = true)]
async fn answers_tell_what_is_left() {
    let layer = RateLimitLayer::new(Quota::per_minute(60).burst(3))
        .and(Quota::UNLIMITED)
        .wait(Wait::reject())
        .on_refusal(respond_fn(Limited::response))
        .advertise();
    let service = layer.layer(handler());
    let mut left = Vec::new();
    for _ in 0..4 {
        let answer = service.clone().oneshot(Request::default()).await.unwrap();
        let limits = Allowances::of(answer.headers(), || unreachable!());
        left.extend(
            limits.iter().map(|limit| (limit.remaining.unwrap(), limit.reset.unwrap().as_secs())),
        );
    }
    assert_eq!(left, [(2, 1), (1, 2), (0, 3), (0, 1)]);
    // Of the quotas that it goes by now.
    layer.handle().retune(&[Quota::per_minute(600).burst(3), Quota::UNLIMITED]).unwrap();
    tokio::time::advance(SECOND * 60).await;
    let answer = service.oneshot(Request::default()).await.unwrap();
    assert_eq!(answer.headers()["ratelimit-policy"], r#""600-in-60s";q=600;w=60"#);
}

#[tokio::test(start_paused = true)]
async fn keys_of_a_server_tell_their_own() {
    let service = RateLimitLayer::new(Quota::per_minute(60).burst(5))
        .keyed(ByClient::new())
        .wait(Wait::reject())
        .on_refusal(respond_fn(Limited::response))
        .advertise()
        .layer(handler());
    let from = |last: u8| {
        let mut request = Request::new(());
        request.extensions_mut().insert(std::net::SocketAddr::from(([192, 0, 2, last], 1)));
        request
    };
    for (last, expected) in [(1, "r=4"), (1, "r=3"), (2, "r=4")] {
        let answer = service.clone().oneshot(from(last)).await.unwrap();
        assert!(answer.headers()["ratelimit"].to_str().unwrap().contains(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn what_only_observes_admits_and_tells() {
    let service = RateLimitLayer::new(Quota::per_minute(1))
        .observe_only()
        .on_refusal(respond_fn(Limited::response))
        .advertise()
        .layer(handler());
    for _ in 0..3 {
        let answer = service.clone().oneshot(Request::default()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["ratelimit"], r#""1-in-60s";r=0;t=60"#);
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_a_deadline_waits_no_longer() {
    let service = RateLimitLayer::new(Quota::every(SECOND)).until_deadline().layer(handler());
    let call = |within: Option<u32>| {
        let mut request = Request::new(());
        if let Some(within) = within {
            let deadline = Instant::now() + SECOND * within / 10;
            request.extensions_mut().insert(Deadline(deadline.into_std()));
        }
        let start = Instant::now();
        let call = service.clone().oneshot(request);
        async move {
            let limited = call.await.map_err(|error| {
                let limited = *find_cause::<Limited>(&*error).unwrap();
                (limited.reason(), limited.retry_after().unwrap())
            });
            (limited.err(), start.elapsed())
        }
    };
    call(None).await;
    let late = (Some((LimitedReason::TooLong, SECOND)), Duration::ZERO);
    assert_eq!(call(Some(9)).await, late, "at once");
    assert_eq!(call(Some(0)).await, late, "it is past");
    assert_eq!(call(Some(11)).await, (None, SECOND));
    // Those before it count.
    let waits = tokio::spawn(call(None));
    tokio::task::yield_now().await;
    let behind = timeout(SECOND, call(Some(15))).await.unwrap();
    assert_eq!(behind, (Some((LimitedReason::TooLong, SECOND * 2)), Duration::ZERO));
    assert_eq!(waits.await.unwrap(), (None, SECOND));
}

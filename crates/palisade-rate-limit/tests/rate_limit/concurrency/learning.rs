//! Limits that go by what happens.

use std::io;

use http::StatusCode;
use palisade_core::{Outcome, classify_fn};
use palisade_rate_limit::{
    Aimd, ConcurrencyLimitLayer, ConcurrencyLimiter, Gradient2, UntilHead, Wait,
};
use tokio::{task::JoinSet, time::timeout};
use tower::{Layer, ServiceExt};

use super::support::{TICK, api, get, told};

#[tokio::test(start_paused = true)]
async fn a_limit_follows_what_the_service_says() {
    let (inner, tell) = told();
    let layer = ConcurrencyLimitLayer::adaptive(Aimd::new(10).backoff(0.5));
    let service = layer.layer(inner);
    let limit = || layer.handle().snapshot().limit;
    for (result, after) in [
        (Ok(StatusCode::OK), 10),
        (Ok(StatusCode::NOT_FOUND), 10),
        (Ok(StatusCode::NOT_IMPLEMENTED), 10),
        (Ok(StatusCode::TOO_MANY_REQUESTS), 5),
        (Ok(StatusCode::SERVICE_UNAVAILABLE), 2),
        (Err(io::ErrorKind::PermissionDenied), 2),
        (Err(io::ErrorKind::TimedOut), 1),
    ] {
        *tell.lock().unwrap() = result;
        let _ = service.clone().oneshot(get("/")).await;
        assert_eq!(limit(), after, "{result:?}");
        // Time goes on between two that do not overlap.
        tokio::time::advance(TICK).await;
    }
    *tell.lock().unwrap() = Ok(StatusCode::OK);
    for _ in 0..10 {
        service.clone().oneshot(get("/")).await.unwrap();
    }
    assert!(1 < limit());
}

#[tokio::test(start_paused = true)]
async fn a_burst_that_fails_counts_once() {
    let (inner, tell) = told();
    *tell.lock().unwrap() = Ok(StatusCode::TOO_MANY_REQUESTS);
    let layer = ConcurrencyLimitLayer::adaptive(Aimd::new(64).backoff(0.5));
    let service = layer.layer(inner);
    let mut tasks = JoinSet::new();
    for _ in 0..64 {
        tasks.spawn(service.clone().oneshot(get("/")));
    }
    tasks.join_all().await;
    assert_eq!(layer.handle().snapshot().limit, 32);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_tells_nothing() {
    let layer = ConcurrencyLimitLayer::adaptive(Aimd::new(4));
    let service = layer.layer(api());
    for _ in 0..50 {
        assert!(timeout(TICK / 2, service.clone().oneshot(get("/"))).await.is_err());
    }
    assert_eq!(layer.handle().snapshot().limit, 4);
}

#[tokio::test(start_paused = true)]
async fn an_idle_client_does_not_grow_its_limit() {
    let layer = ConcurrencyLimitLayer::adaptive(Gradient2::new(8));
    let service = layer.layer(api());
    for _ in 0..200 {
        service.clone().oneshot(get("/")).await.unwrap();
    }
    assert_eq!(layer.handle().snapshot().limit, 8);
}

#[tokio::test(start_paused = true)]
async fn a_busy_client_grows_its_limit_and_lets_go_who_waits() {
    let layer = ConcurrencyLimitLayer::adaptive(Gradient2::new(2)).wait(Wait::forever());
    let service = layer.layer(api());
    let mut tasks = JoinSet::new();
    for _ in 0..1000 {
        let service = service.clone();
        tasks.spawn(async move { service.oneshot(get("/")).await.map(drop) });
    }
    assert!(tasks.join_all().await.iter().all(Result::is_ok));
    let snapshot = layer.handle().snapshot();
    assert!(20 < snapshot.limit, "{snapshot:?}");
    assert_eq!((snapshot.in_flight, snapshot.waiting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn how_long_it_waited_is_not_how_long_it_took() {
    let limiter = ConcurrencyLimiter::adaptive(Gradient2::new(10)).wait(Wait::forever());
    limiter.set_limit(1);
    for _ in 0..100 {
        let permit = limiter.acquire().await.unwrap();
        let next = tokio::spawn(limiter.acquire());
        tokio::time::sleep(TICK * 10).await;
        drop(permit);
        let mut permit = next.await.unwrap().unwrap();
        tokio::time::sleep(TICK).await;
        permit.record(Outcome::Success);
    }
    assert!(1 < limiter.snapshot().limit);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_http_is_judged_by_a_function() {
    let layer = ConcurrencyLimitLayer::<_, _, palisade_core::HttpClassify>::adaptive(Aimd::new(10))
        .classify(classify_fn(|result: Result<&u32, &io::Error>| match result {
            Ok(13) => Outcome::Throttled,
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::Failed,
        }))
        .hold(UntilHead);
    let service =
        layer.layer(tower::service_fn(|number: u32| async move { Ok::<_, io::Error>(number) }));
    for (number, limit) in [(7, 10), (13, 9)] {
        assert_eq!(service.clone().oneshot(number).await.unwrap(), number);
        assert_eq!(layer.handle().snapshot().limit, limit);
    }
}

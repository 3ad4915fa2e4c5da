//! Limits that go by what happens.

use std::{
    io,
    sync::{Arc, Mutex},
};

use http::StatusCode;
use palisade_core::{HttpClassify, Outcome, classify_fn};
use palisade_rate_limit::{
    Aimd, ConcurrencyLimitLayer, ConcurrencyLimiter, Gradient2, LimitAlgorithm, Sample, UntilHead,
    Verdict, Wait,
};
use tokio::{
    task::{JoinSet, yield_now},
    time::{sleep, timeout},
};
use tower::{Layer, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer as TowersLayer};

use super::support::{TICK, api, get, told};

/// Writes down what it is told.
#[derive(Clone, Debug)]
struct Notes {
    limit: usize,
    samples: Arc<Mutex<Vec<Sample>>>,
}

impl Notes {
    fn new(limit: usize) -> Self {
        Self { limit, samples: Arc::default() }
    }
}

impl LimitAlgorithm for Notes {
    fn limit(&self) -> usize {
        self.limit
    }

    fn record(&mut self, sample: &Sample) {
        self.samples.lock().unwrap().push(*sample);
    }

    fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }
}

#[tokio::test(start_paused = true)]
async fn a_round_trip_begins_when_it_is_sent_and_ends_with_the_head() {
    // The inner service has one place, which each holds until its head is there.
    let inner = ServiceBuilder::new().layer(TowersLayer::new(1)).service(api());
    let notes = Notes::new(2);
    let samples = Arc::clone(&notes.samples);
    let service = ConcurrencyLimitLayer::adaptive(notes).layer(inner);
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let service = service.clone();
        tasks.spawn(async move {
            let response = service.oneshot(get("/")).await.unwrap();
            // Nobody counts the time that the body takes.
            sleep(TICK * 7).await;
            drop(response);
        });
    }
    tasks.join_all().await;
    let samples = samples.lock().unwrap();
    assert_eq!(samples.len(), 4);
    for sample in &*samples {
        assert_eq!((sample.rtt, sample.verdict), (TICK, Verdict::Success), "{samples:?}");
        assert!((1..=2).contains(&sample.in_flight), "{samples:?}");
        assert_eq!(sample.ended_at(), sample.sent_at + TICK);
    }
}

#[tokio::test(start_paused = true)]
async fn how_long_the_inner_service_is_not_ready_is_not_how_long_it_took() {
    let inner = ServiceBuilder::new().layer(TowersLayer::new(1)).service(api());
    let notes = Notes::new(1);
    let samples = Arc::clone(&notes.samples);
    let layer = ConcurrencyLimitLayer::adaptive(notes);
    let permit = layer.handle().try_acquire().unwrap();
    let call = tokio::spawn(layer.layer(inner.clone()).oneshot(get("/")));
    yield_now().await;
    // It gets its permit at once, and a place in the inner service after ten ticks.
    let mut busy = inner.clone();
    busy.ready().await.unwrap();
    drop(permit);
    sleep(TICK * 10).await;
    drop(busy);
    call.await.unwrap().unwrap();
    assert_eq!(samples.lock().unwrap()[0].rtt, TICK);
}

#[tokio::test]
async fn only_what_is_said_first_counts() {
    let notes = Notes::new(1);
    let samples = Arc::clone(&notes.samples);
    let limiter = ConcurrencyLimiter::adaptive(notes);
    let mut permit = limiter.try_acquire().unwrap();
    permit.record(Outcome::Throttled);
    permit.record(Outcome::Success);
    assert_eq!(limiter.snapshot().in_flight, 1);
    drop(permit);
    drop(limiter.try_acquire());
    let verdicts: Vec<_> = samples.lock().unwrap().iter().map(|sample| sample.verdict).collect();
    assert_eq!(verdicts, [Verdict::Dropped]);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_has_learned_lets_the_next_one_go_at_once() {
    let limiter = ConcurrencyLimiter::adaptive(Aimd::new(1)).wait(Wait::forever());
    let mut permit = limiter.try_acquire().unwrap();
    let next = tokio::spawn(limiter.acquire());
    yield_now().await;
    permit.record(Outcome::Success);
    // The first one still is in flight.
    let _permit = timeout(TICK, next).await.unwrap().unwrap().unwrap();
    drop(permit);
}

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
        sleep(TICK * 10).await;
        drop(permit);
        let mut permit = next.await.unwrap().unwrap();
        sleep(TICK).await;
        permit.record(Outcome::Success);
    }
    assert!(1 < limiter.snapshot().limit);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_http_is_judged_by_a_function() {
    let layer = ConcurrencyLimitLayer::<_, _, HttpClassify>::adaptive(Aimd::new(10))
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

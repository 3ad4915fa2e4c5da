//! The layer around a service.

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{Request, Response, StatusCode};
use palisade_core::{
    BoxError, ByAuthority, ErrorKind, Event, Observer, Refusal, Target, find_cause,
};
use palisade_rate_limit::{
    ConcurrencyLimitLayer, LimitPerKey, Limited, LimitedReason, UntilHead, Wait, respond_fn,
};
use palisade_testkit::RecordingObserver;
use tokio::{
    task::{JoinSet, yield_now},
    time::{Instant, sleep, timeout},
};
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer as TowersLayer,
    service_fn,
};

use super::support::{SECOND, TICK, api, get, reason};

#[tokio::test(start_paused = true)]
async fn no_more_are_in_flight_than_the_limit() {
    let layer = ConcurrencyLimitLayer::new(5);
    let service = layer.layer(api());
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        let service = service.clone();
        tasks.spawn(async move { service.oneshot(get("/")).await.map(drop) });
    }
    assert!(tasks.join_all().await.iter().all(Result::is_ok));
    assert_eq!(start.elapsed(), TICK * 10);
}

#[tokio::test(start_paused = true)]
async fn services_and_clones_of_a_layer_share_its_limit() {
    let layer = ConcurrencyLimitLayer::new(2).wait(Wait::reject());
    let services = [layer.layer(api()), layer.layer(api()), layer.clone().layer(api())];
    let mut responses = Vec::new();
    for service in services.iter().chain(&services) {
        responses.extend(service.clone().oneshot(get("/")).await.ok());
    }
    assert_eq!(responses.len(), 2);
    assert!(layer.separate().layer(api()).oneshot(get("/")).await.is_ok());
    responses.clear();
    assert!(services[2].clone().oneshot(get("/")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_says_so() {
    let layer = ConcurrencyLimitLayer::new(1).wait(Wait::reject());
    let service = layer.layer(api());
    let _response = service.clone().oneshot(get("/")).await.unwrap();
    let error = service.oneshot(get("/")).await.unwrap_err();
    assert_eq!(reason(&error), Some(LimitedReason::Exhausted));
    let refusal = find_cause::<Refusal>(&*error).unwrap();
    assert_eq!((refusal.kind(), refusal.retry_after()), (ErrorKind::Limited, None));
    assert_eq!(layer.handle().snapshot().in_flight, 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_answers_and_keeps_its_error_type() {
    let layer = ConcurrencyLimitLayer::new(1)
        .wait(Wait::reject())
        .on_refusal(respond_fn(Limited::response));

    let service = layer.layer(service_fn(|_: Request<String>| async {
        Ok::<_, Infallible>(Response::new("hello".to_owned()))
    }));
    let Ok(response) = service.clone().oneshot(get("/")).await;
    let Ok(refused) = service.clone().oneshot(get("/")).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().is_empty());
    // That response holds nothing.
    assert_eq!(layer.handle().snapshot().in_flight, 1);
    drop(response);
    let Ok(response) = service.oneshot(get("/")).await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_refused() {
    let layer = ConcurrencyLimitLayer::new(1).wait(Wait::up_to(SECOND));
    let service = layer.layer(api());
    let response = service.clone().oneshot(get("/")).await.unwrap();
    let start = Instant::now();
    let error = service.clone().oneshot(get("/")).await.unwrap_err();
    assert_eq!(reason(&error), Some(LimitedReason::TooLong));
    assert!(SECOND <= start.elapsed() && start.elapsed() <= SECOND + TICK);
    drop(response);
    assert!(service.oneshot(get("/")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_clone_that_is_ready_and_dropped_takes_nothing() {
    let layer = ConcurrencyLimitLayer::new(1);
    let service = layer.layer(api());
    for _ in 0..10 {
        let mut ready = service.clone();
        ready.ready().await.unwrap();
        assert_eq!(layer.handle().snapshot().in_flight, 0);
    }
    assert!(service.oneshot(get("/")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_panic_gives_its_permit_back() {
    let layer = ConcurrencyLimitLayer::new(1).wait(Wait::reject());
    let handle = layer.handle();
    let in_call = service_fn(|request: Request<String>| {
        assert_ne!(request.uri(), "/panic");
        async { Ok::<_, Infallible>(Response::new(String::new())) }
    });
    let mut service = layer.layer(in_call);
    let call = AssertUnwindSafe(|| drop(service.call(get("/panic"))));
    assert!(std::panic::catch_unwind(call).is_err());
    assert_eq!(handle.snapshot().in_flight, 0);

    let in_future = service_fn(|request: Request<String>| async move {
        assert_ne!(request.uri(), "/panic");
        Ok::<_, Infallible>(Response::new(String::new()))
    });
    let mut service = layer.layer(in_future);
    let mut call = Box::pin(service.call(get("/panic")));
    assert_eq!(handle.snapshot().in_flight, 1);
    let mut cx = Context::from_waker(Waker::noop());
    let poll = AssertUnwindSafe(|| drop(call.as_mut().poll(&mut cx)));
    assert!(std::panic::catch_unwind(poll).is_err());
    // Although the future is still there.
    assert_eq!(handle.snapshot().in_flight, 0);
    drop(call);
    assert_eq!(handle.snapshot().in_flight, 0);
    assert!(service.oneshot(get("/")).await.is_ok());
}

/// Cannot bear that somebody has waited.
#[derive(Debug)]
struct Impatient;

impl Observer for Impatient {
    fn on_event(&self, _: Target<'_>, event: &Event) {
        assert!(!matches!(event, Event::Waited { .. }));
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_leaves_the_permit_to_others() {
    let layer = ConcurrencyLimitLayer::new(1).observer(Arc::new(Impatient));
    let (handle, service) = (layer.handle(), layer.layer(api()));
    let calls =
        [(); 3].map(|()| tokio::spawn(service.clone().map_response(drop).oneshot(get("/"))));
    let mut ends = Vec::new();
    for call in calls {
        ends.push(call.await.is_ok());
    }
    assert_eq!(ends, [true, false, false]);
    assert_eq!((handle.snapshot().in_flight, handle.snapshot().waiting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_gives_its_permit_back() {
    let layer = ConcurrencyLimitLayer::new(1);
    let service = layer.layer(api());
    let call = service.clone().oneshot(get("/"));
    assert!(timeout(TICK / 2, call).await.is_err());
    assert_eq!(layer.handle().snapshot().in_flight, 0);
    let mut first = service.clone();
    let first = first.ready().await.unwrap().call(get("/"));
    let second = service.clone().oneshot(get("/"));
    assert!(timeout(TICK, second).await.is_err());
    assert_eq!(layer.handle().snapshot().waiting, 0);
    drop(first);
    assert!(service.oneshot(get("/")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_waits_holds_nothing_of_the_inner_service() {
    let inner = ServiceBuilder::new().layer(TowersLayer::new(2)).service(api());
    let layer = ConcurrencyLimitLayer::new(1);
    let service = layer.layer(inner.clone());
    let mut tasks = JoinSet::new();
    for _ in 0..5 {
        let service = service.clone();
        tasks.spawn(async move { service.oneshot(get("/")).await.map(drop) });
    }
    yield_now().await;
    assert_eq!(layer.handle().snapshot().waiting, 4);
    // One of two places is free, for whoever calls the inner service itself.
    timeout(TICK, inner.oneshot(get("/"))).await.unwrap().unwrap();
    assert!(tasks.join_all().await.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn one_caller_gets_through_an_inner_service_with_one_place() {
    for limit in [1, 3] {
        let inner = ServiceBuilder::new().layer(TowersLayer::new(1)).service(api());
        let mut service = ConcurrencyLimitLayer::new(limit).layer(inner);
        let mut tasks = JoinSet::new();
        for _ in 0..20 {
            // Whoever is ready holds the only place.
            let call = timeout(SECOND, service.ready()).await.unwrap().unwrap().call(get("/"));
            tasks.spawn(async move { call.await.map(drop) });
        }
        let all = timeout(SECOND, tasks.join_all()).await.expect("nobody waits for itself");
        assert!(all.iter().all(Result::is_ok));
    }
}

#[tokio::test(start_paused = true)]
async fn an_inner_service_that_is_not_ready_gets_no_permit() {
    let polls = Arc::new(AtomicUsize::new(0));
    let inner = Unready { polls: Arc::clone(&polls) };
    let layer = ConcurrencyLimitLayer::new(1).hold(UntilHead);
    let handle = layer.handle();
    let permit = handle.try_acquire().unwrap();
    let mut service = layer.layer(inner);
    let mut call = Box::pin(service.call(7));
    assert!(timeout(Duration::ZERO, &mut call).await.is_err());
    drop(permit);
    let error = (&mut call).await.unwrap_err();
    assert_eq!(error.to_string(), "unready");
    // The future is still there, and holds nothing.
    assert_eq!((polls.load(Ordering::Relaxed), handle.snapshot().in_flight), (1, 0));
}

#[derive(Clone)]
struct Unready {
    polls: Arc<AtomicUsize>,
}

impl Service<u32> for Unready {
    type Response = u32;
    type Error = BoxError;
    type Future = std::future::Ready<Result<u32, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Err("unready".into()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        std::future::ready(Ok(request))
    }
}

#[tokio::test(start_paused = true)]
async fn each_key_has_a_limit_of_its_own() {
    let layer = ConcurrencyLimitLayer::new(1).wait(Wait::reject()).keyed(ByAuthority);
    let service = layer.layer(api());
    let mut responses = Vec::new();
    for _ in 0..3 {
        for host in ["a.example", "b.example"] {
            let request = get(&format!("http://{host}/"));
            responses.extend(service.clone().oneshot(request).await.ok());
        }
    }
    let limiters = layer.limiters();
    assert_eq!((responses.len(), limiters.len(), limiters.overflowed()), (2, 2, 0));
    let key = Some("a.example".to_owned());
    let limiter = limiters.get(&key).unwrap();
    assert_eq!(limiter.snapshot().in_flight, 1);
    limiter.set_limit(2);
    let more = service.clone().oneshot(get("http://a.example/")).await;
    assert_eq!((more.is_ok(), limiter.snapshot().in_flight), (true, 2));
    assert!(service.oneshot(get("http://b.example/")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_setter_makes_a_layer_with_limits_of_its_own() {
    let one = ConcurrencyLimitLayer::new(1).wait(Wait::reject());
    let keyed = one.clone().keyed(ByAuthority);
    let other = keyed.clone().wait(Wait::up_to(TICK));
    let _held = [
        one.layer(api()).oneshot(get("/")).await.unwrap(),
        keyed.layer(api()).oneshot(get("/")).await.unwrap(),
        other.layer(api()).oneshot(get("/")).await.unwrap(),
        keyed.separate().layer(api()).oneshot(get("/")).await.unwrap(),
    ];
    assert!(keyed.clone().layer(api()).oneshot(get("/")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_keys_stays_within_its_bounds_and_evicts_nobody_at_work() {
    let layer = ConcurrencyLimitLayer::new(1)
        .wait(Wait::reject())
        .scope(LimitPerKey::by(ByAuthority).max_keys(10));
    let service = layer.layer(api());
    let ask = |host: u32| service.clone().oneshot(get(&format!("http://host-{host}.example/")));
    let mut responses = Vec::new();
    for host in 0..10 {
        responses.push(ask(host).await.unwrap());
    }
    // All have requests in flight: who has no place shares one limit.
    responses.push(ask(10).await.unwrap());
    assert_eq!(layer.limiters().overflow().snapshot().in_flight, 1);
    for host in 0..100 {
        assert!(ask(host).await.is_err());
    }
    assert_eq!(layer.limiters().len(), 10);
    assert_eq!(layer.limiters().overflowed(), 91);
    responses.clear();
    for host in 100..1000 {
        assert!(ask(host).await.is_ok());
    }
    assert_eq!((layer.limiters().len(), layer.limiters().overflowed()), (10, 91));
    // What somebody has set stays, however many come.
    let key = Some("host-999.example".to_owned());
    layer.limiters().get(&key).unwrap().set_limit(3);
    for host in 1000..2000 {
        assert!(ask(host).await.is_ok());
    }
    assert_eq!(layer.limiters().get(&key).unwrap().snapshot().limit, 3);
}

#[tokio::test(start_paused = true)]
async fn waits_and_refusals_are_told() {
    let observer = Arc::new(RecordingObserver::new());
    let layer = ConcurrencyLimitLayer::new(1)
        .wait(Wait::up_to(SECOND).max_waiting(1))
        .observer(observer.clone())
        .keyed(ByAuthority);
    let service = layer.layer(api());
    let mut tasks = JoinSet::new();
    for _ in 0..3 {
        let service = service.clone();
        tasks.spawn(async move { service.oneshot(get("http://a.example/")).await.map(drop) });
    }
    assert_eq!(tasks.join_all().await.iter().filter(|result| result.is_ok()).count(), 2);
    let told = observer.take();
    let events: Vec<_> = told.iter().map(|told| &*told.event).collect();
    assert_eq!(
        events,
        [
            "Refused { kind: Limited, reason: \"full\", retry_after: None, enforced: true }",
            "Waited { kind: Limited, waited: 10ms }",
        ]
    );
    assert!(told.iter().all(|told| told.authority.as_deref() == Some("a.example")));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_request_is_told_once() {
    let observer = Arc::new(RecordingObserver::new());
    let layer = ConcurrencyLimitLayer::new(1).wait(Wait::reject()).observer(observer.clone());
    let service = layer.layer(api());
    let _response = service.clone().oneshot(get("/")).await.unwrap();
    service.oneshot(get("/")).await.unwrap_err();
    layer.handle().try_acquire().unwrap_err();
    layer.handle().acquire().await.unwrap_err();
    let told = observer.take();
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|told| told.event.contains("exhausted")), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn bodies_that_nobody_reads_hold_the_others_up() {
    let layer = ConcurrencyLimitLayer::new(1).wait(Wait::forever());
    let service = layer.layer(api());
    let response = service.clone().oneshot(get("/")).await.unwrap();
    let start = Instant::now();
    let next = tokio::spawn(service.oneshot(get("/")));
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(layer.handle().snapshot().waiting, 1);
    drop(response);
    next.await.unwrap().unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(3600) + TICK);
}

//! The layer around a service.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, Response, StatusCode, header::RETRY_AFTER};
use palisade_core::{BoxError, ByAuthority, ErrorKind, Refusal, find_cause};
use palisade_rate_limit::{
    Cost, InExtensions, Keyed, Limited, LimitedReason, Quota, RateLimitLayer, Wait, respond_fn,
};
use palisade_testkit::RecordingObserver;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer, service_fn};

const TICK: Duration = Duration::from_millis(10);

/// One each 10 ms.
fn layer() -> RateLimitLayer {
    RateLimitLayer::new(Quota::every(TICK))
}

fn api()
-> impl Service<Request<String>, Response = Response<String>, Error = Infallible, Future: Send>
+ Clone
+ Send {
    service_fn(|_: Request<String>| async { Ok(Response::new(String::new())) })
}

fn get(uri: &str) -> Request<String> {
    Request::get(uri).body(String::new()).unwrap()
}

fn reason(error: &BoxError) -> Option<LimitedReason> {
    find_cause::<Limited>(&**error).map(Limited::reason)
}

#[tokio::test(start_paused = true)]
async fn services_of_a_layer_share_its_limit() {
    let layer = layer().wait(Wait::reject());
    let mut granted = 0;
    for _ in 0..3 {
        let service = layer.layer(api());
        for _ in 0..3 {
            granted += usize::from(service.clone().oneshot(get("/")).await.is_ok());
        }
    }
    assert_eq!(granted, 1);
    assert!(layer.separate().layer(api()).oneshot(get("/")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_when_to_come_again() {
    let service = layer().wait(Wait::reject()).layer(api());
    service.clone().oneshot(get("/")).await.unwrap();
    let error = service.oneshot(get("/")).await.unwrap_err();
    assert_eq!(reason(&error), Some(LimitedReason::Exhausted));
    let refusal = find_cause::<Refusal>(&*error).unwrap();
    assert_eq!((refusal.kind(), refusal.retry_after()), (ErrorKind::Limited, Some(TICK)));
}

#[tokio::test(start_paused = true)]
async fn each_key_has_a_limit_of_its_own() {
    let slow = |host: &Option<String>| {
        (host.as_deref() == Some("slow.example")).then(|| Quota::per_hour(1))
    };
    let layer = layer().wait(Wait::reject()).scope(Keyed::by(ByAuthority).quota_fn(slow));
    let service = layer.layer(api());
    let mut granted = [0; 3];
    for _ in 0..5 {
        for (granted, host) in granted.iter_mut().zip(["a.example", "b.example", "slow.example"]) {
            let request = get(&format!("http://{host}/"));
            *granted += usize::from(service.clone().oneshot(request).await.is_ok());
        }
        sleep(TICK).await;
    }
    assert_eq!(granted, [5, 5, 1]);
    let limiters = layer.limiters();
    assert_eq!(limiters.len(), 3);
    assert!(limiters.get(&Some("slow.example".to_owned())).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_handle_goes_on_where_the_requests_of_its_key_were() {
    let layer = RateLimitLayer::new(Quota::per_hour(1).burst(5)).wait(Wait::reject());
    let layer = layer.keyed(ByAuthority);
    let (service, limiters) = (layer.layer(api()), layer.limiters());
    let ask = async |host: &str| {
        service.clone().oneshot(get(&format!("http://{host}.example/"))).await.is_ok()
    };
    let key = |host: &str| Some(format!("{host}.example"));
    for _ in 0..3 {
        assert!(ask("a").await && ask("b").await);
    }
    let handle = limiters.get(&key("a")).unwrap();
    assert_eq!(handle.snapshot().available, 2);
    assert!(ask("a").await);
    assert_eq!(handle.snapshot().available, 1);
    handle.refund(1);
    assert_eq!([ask("a").await, ask("a").await, ask("a").await], [true, true, false]);

    let mut all = limiters.all();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    let left: Vec<_> =
        all.iter().map(|(key, limiter)| (key, limiter.snapshot().available)).collect();
    assert_eq!(left, [(&key("a"), 0), (&key("b"), 2)]);
    limiters.pause(TICK);
    assert!(!ask("b").await);
    sleep(TICK).await;
    assert_eq!([ask("b").await, ask("b").await, ask("b").await], [true, true, false]);
    assert!(limiters.get(&key("c")).is_none());
    assert_eq!(limiters.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_keys_stays_within_its_bounds_and_forgets_nothing() {
    let layer = RateLimitLayer::new(Quota::per_hour(1))
        .wait(Wait::reject())
        .scope(Keyed::by(ByAuthority).max_keys(100));
    let service = layer.layer(api());
    let mut granted = 0;
    for host in 0..10_000 {
        let request = get(&format!("http://host-{host}.example/"));
        granted += usize::from(service.clone().oneshot(request).await.is_ok());
    }
    // One for each key that has a place, and one for all others.
    assert_eq!((granted, layer.limiters().len()), (101, 100));
    assert_eq!(layer.limiters().overflowed(), 9900);
    let shared = layer.limiters().overflow().snapshot();
    assert_eq!(shared.available, 0);
    // An hour later all are as if they were new, and make room.
    sleep(Duration::from_secs(3600)).await;
    for host in 0..50 {
        let request = get(&format!("http://other-{host}.example/"));
        assert!(service.clone().oneshot(request).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_holds_nothing_of_the_inner_service() {
    let inner = ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(1)).service(api());
    let service = layer().layer(inner.clone());
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..5 {
        let service = service.clone();
        tasks.spawn(async move { service.oneshot(get("/")).await.map(drop) });
    }
    sleep(TICK / 2).await;
    // Four wait for tokens, and whoever calls the inner service itself gets through.
    timeout(Duration::ZERO, inner.oneshot(get("/"))).await.unwrap().unwrap();
    assert!(tasks.join_all().await.iter().all(Result::is_ok));
    assert_eq!(start.elapsed(), TICK * 4);
}

#[tokio::test(start_paused = true)]
async fn what_was_granted_and_not_sent_goes_back() {
    let blocked = Arc::new(AtomicUsize::new(1));
    let seen = Arc::clone(&blocked);
    // Never ready, once the first has passed.
    let inner = ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(1)).service_fn(
        move |_: Request<String>| {
            let seen = Arc::clone(&seen);
            async move {
                seen.fetch_add(1, Ordering::Relaxed);
                std::future::pending::<()>().await;
                Ok::<_, Infallible>(Response::new(String::new()))
            }
        },
    );
    let layer = layer();
    let handle = layer.handle();
    let service = layer.layer(inner);
    let mut ready = service.clone();
    let first = tokio::spawn(ready.ready().await.unwrap().call(get("/")));
    let mut second = service.clone();
    // It is granted after a tick, and then waits for the inner service.
    let second = tokio::spawn(async move { second.ready().await.unwrap().call(get("/")).await });
    sleep(TICK * 3).await;
    second.abort();
    let _ = second.await;
    assert_eq!(handle.snapshot().available, 1);
    first.abort();
}

#[tokio::test(start_paused = true)]
async fn requests_cost_what_they_say() {
    let layer = RateLimitLayer::new(Quota::per_second(100).burst(10)).cost(InExtensions);
    let service = layer.layer(api());
    let start = Instant::now();
    for cost in [10, 5, 1] {
        let mut request = get("/");
        request.extensions_mut().insert(Cost(cost));
        service.clone().oneshot(request).await.unwrap();
    }
    service.clone().oneshot(get("/")).await.unwrap();
    assert_eq!(start.elapsed(), TICK * 7);
    let mut request = get("/");
    request.extensions_mut().insert(Cost(11));
    let error = service.oneshot(request).await.unwrap_err();
    assert_eq!(reason(&error), Some(LimitedReason::OverBurst));
}

#[tokio::test(start_paused = true)]
async fn a_server_answers_and_keeps_its_error_type() {
    for (period, seconds) in [(1, "1"), (999, "1"), (1000, "1"), (1001, "2"), (90_000, "90")] {
        let quota = Quota::every(Duration::from_millis(period));
        let layer = RateLimitLayer::new(quota)
            .wait(Wait::reject())
            .on_refusal(respond_fn(Limited::response));
        let service = layer.layer(api());
        let Ok(_) = service.clone().oneshot(get("/")).await;
        let Ok(response) = service.oneshot(get("/")).await;
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[RETRY_AFTER], seconds, "{period} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn who_only_observes_holds_nothing_up() {
    let observer = Arc::new(RecordingObserver::new());
    let service = layer().observe_only().observer(observer.clone()).layer(api());
    let start = Instant::now();
    for _ in 0..3 {
        service.clone().oneshot(get("/")).await.unwrap();
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    let told = observer.take();
    assert_eq!(told.len(), 2);
    assert!(told[0].event.contains("enforced: false"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn waits_refusals_and_pauses_are_told() {
    let observer = Arc::new(RecordingObserver::new());
    let layer = layer().wait(Wait::up_to(TICK)).observer(observer.clone()).keyed(ByAuthority);
    let service = layer.layer(api());
    for _ in 0..2 {
        service.clone().oneshot(get("http://a.example/")).await.unwrap();
    }
    layer.limiters().get(&Some("a.example".to_owned())).unwrap().pause(Duration::from_secs(1));
    service.oneshot(get("http://a.example/")).await.unwrap_err();
    let told = observer.take();
    let events: Vec<_> = told.iter().map(|told| &*told.event).collect();
    assert_eq!(
        events,
        [
            "Waited { kind: Limited, waited: 10ms }",
            "Paused { kind: Limited, reason: \"handle\", delay: 1s }",
            "Refused { kind: Limited, reason: \"too_long\", retry_after: Some(1s), enforced: true }",
        ]
    );
    assert!(told.iter().all(|told| told.authority.as_deref() == Some("a.example")));
}

#[tokio::test(start_paused = true)]
async fn what_was_ready_and_is_not_called_gives_its_token_back() {
    let layer = layer().backpressure();
    let service = layer.layer(api());
    let start = Instant::now();
    for _ in 0..10 {
        let mut ready = service.clone();
        ServiceExt::<Request<String>>::ready(&mut ready).await.unwrap();
        assert_eq!(layer.handle().snapshot().available, 0);
        // A clone takes no token along.
        drop((ready.clone(), ready));
        assert_eq!(layer.handle().snapshot().available, 1);
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    for turn in 0..5 {
        service.clone().oneshot(get("/")).await.unwrap();
        assert_eq!(start.elapsed(), TICK * turn);
    }
}

#[tokio::test(start_paused = true)]
async fn services_that_are_not_ready_stand_in_line() {
    let layer = layer().backpressure();
    let service = layer.layer(api());
    service.clone().oneshot(get("/")).await.unwrap();
    let mut waiting: Vec<_> = (0..3).map(|_| service.clone()).collect();
    for service in &mut waiting {
        let ready = ServiceExt::<Request<String>>::ready(service);
        assert!(timeout(Duration::ZERO, ready).await.is_err());
    }
    assert_eq!(layer.handle().snapshot().waiting, 3);
    // Who leaves the line takes nothing along.
    waiting.remove(1);
    assert_eq!(layer.handle().snapshot().waiting, 2);
    let start = Instant::now();
    for (turn, service) in (1..).zip(waiting) {
        service.oneshot(get("/")).await.unwrap();
        assert_eq!(start.elapsed(), TICK * turn);
    }
}

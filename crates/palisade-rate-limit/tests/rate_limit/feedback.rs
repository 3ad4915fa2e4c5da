//! What limiters learn from the answers of servers.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Method, Request, Response, StatusCode};
use palisade_core::{BoxError, ByEndpoint, Endpoint, find_cause};
use palisade_rate_limit::{
    Feedback, Limited, LimitedReason, Quota, RateLimitLayer, Signal, Wait, learn_fn, settle_fn,
};
use palisade_testkit::RecordingObserver;
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower::{Layer, Service, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

fn layer() -> RateLimitLayer {
    RateLimitLayer::new(Quota::UNLIMITED).wait(Wait::forever())
}

/// Answers by its number, from 0 on, and remembers when each came.
#[derive(Clone)]
struct Api<F> {
    answer: F,
    calls: Arc<Mutex<Vec<Duration>>>,
    start: Instant,
}

impl<F: Fn(usize) -> Response<()> + Clone + Send + 'static> Api<F> {
    fn new(answer: F) -> Self {
        Self { answer, calls: Arc::default(), start: Instant::now() }
    }

    fn service(
        &self,
    ) -> impl Service<Request<()>, Response = Response<()>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + use<F> {
        let api = self.clone();
        service_fn(move |_: Request<()>| {
            let number = {
                let mut calls = api.calls.lock().unwrap();
                calls.push(api.start.elapsed());
                calls.len() - 1
            };
            let answer = (api.answer)(number);
            async move {
                sleep(Duration::from_millis(10)).await;
                Ok(answer)
            }
        })
    }

    fn seconds(&self) -> Vec<u64> {
        self.calls.lock().unwrap().iter().map(Duration::as_secs).collect()
    }
}

fn answer(status: u16, fields: &[(&'static str, &str)]) -> Response<()> {
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(()).unwrap()
}

/// Calls so many times at once.
async fn burst<S>(service: &S, count: usize) -> Vec<Result<Response<()>, BoxError>>
where
    S: Service<Request<()>, Response = Response<()>, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
{
    let mut calls = JoinSet::new();
    for _ in 0..count {
        calls.spawn(service.clone().oneshot(Request::default()));
    }
    timeout(SECOND * 100_000, calls.join_all()).await.unwrap()
}

fn reason(result: &Result<Response<()>, BoxError>) -> Option<LimitedReason> {
    find_cause::<Limited>(&**result.as_ref().err()?).map(Limited::reason)
}

#[tokio::test(start_paused = true)]
async fn nobody_asks_for_what_is_spent() {
    // Three in each ten seconds.
    let api = Api::new(|number| {
        answer(200, &[("ratelimit", &format!(r#""a";r={};t=10"#, 2 - number % 3))])
    });
    let service = layer().learn(Feedback::standard()).layer(api.service());
    service.clone().oneshot(Request::default()).await.unwrap();
    let answers = burst(&service, 8).await;
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().status() == 200));
    // Spread by up to a second; and one first, and then the others.
    let calls = api.seconds();
    let windows: Vec<_> = calls.chunks(3).map(|window| (window[0] / 10, window.len())).collect();
    assert_eq!(windows, [(0, 3), (1, 3), (2, 3)], "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_pauses_all_and_one_goes_first() {
    let api = Api::new(|number| match number {
        0..3 => answer(429, &[("retry-after", "20")]),
        _ => answer(200, &[]),
    });
    let observer = Arc::new(RecordingObserver::new());
    let layer = layer().observer(observer.clone()).learn(Feedback::standard());
    let service = layer.layer(api.service());
    let refused = burst(&service, 3).await;
    assert!(refused.iter().all(|answer| answer.as_ref().unwrap().status() == 429));
    assert_eq!(observer.take().len(), 1, "of three refusals at once");
    assert!(SECOND * 19 < layer.handle().snapshot().paused_for.unwrap());

    burst(&service, 10).await;
    let calls = api.calls.lock().unwrap()[3..].to_vec();
    assert!(SECOND * 20 <= calls[0] && calls[0] <= SECOND * 23);
    // The others when it was answered.
    assert!(calls[1..].iter().all(|at| *at == calls[0] + Duration::from_millis(10)), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn who_would_wait_for_too_long_is_told_at_once() {
    let api = Api::new(|_| answer(429, &[("retry-after", "60")]));
    let service =
        layer().wait(Wait::up_to(SECOND * 5)).learn(Feedback::standard()).layer(api.service());
    let rejecting = layer().wait(Wait::reject()).learn(Feedback::standard()).layer(api.service());
    for (service, expected) in [(service, LimitedReason::TooLong)] {
        service.clone().oneshot(Request::default()).await.unwrap();
        let error = service.oneshot(Request::default()).await;
        assert_eq!(reason(&error), Some(expected));
    }
    rejecting.clone().oneshot(Request::default()).await.unwrap();
    let error = rejecting.oneshot(Request::default()).await.unwrap_err();
    let limited = find_cause::<Limited>(&*error).unwrap();
    assert_eq!((limited.reason(), limited.quota()), (LimitedReason::Paused, None));
    assert!(
        SECOND * 60 <= limited.retry_after().unwrap()
            && limited.retry_after().unwrap() <= SECOND * 61
    );
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_never_longer_than_it_may_be() {
    let far = "99999999999999999999";
    for fields in [
        [("retry-after", far)],
        [("x-ratelimit-reset", far)],
        [("ratelimit", r#""a";r=0;t=999999999999999"#)],
    ] {
        let api = Api::new(move |_| answer(429, &fields));
        let feedback = Feedback::standard().max_pause(SECOND * 50);
        let service = layer().learn(feedback).layer(api.service());
        for _ in 0..4 {
            service.clone().oneshot(Request::default()).await.unwrap();
        }
        let calls = api.seconds();
        assert!(calls.windows(2).all(|pair| (50..=52).contains(&(pair[1] - pair[0]))), "{calls:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_goes_first_when_the_first_is_lost() {
    let (hang, calls) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = (hang.clone(), calls.clone());
    let api = service_fn(move |_: Request<()>| {
        let (hang, calls) = counted.clone();
        async move {
            calls.fetch_add(1, Ordering::Relaxed);
            match hang.load(Ordering::Relaxed) {
                0 => Ok(answer(429, &[("retry-after", "1")])),
                1 => std::future::pending().await,
                2 => Err("gone"),
                _ => Ok(answer(200, &[])),
            }
        }
    });
    let service = layer().learn(Feedback::standard()).layer(api);
    service.clone().oneshot(Request::default()).await.unwrap();
    sleep(SECOND * 2).await;

    hang.store(1, Ordering::Relaxed);
    let mut first = tokio::spawn(service.clone().oneshot(Request::default()));
    assert!(timeout(Duration::from_millis(10), &mut first).await.is_err());
    hang.store(2, Ordering::Relaxed);
    let second = tokio::spawn(service.clone().oneshot(Request::default()));
    assert!(
        timeout(Duration::from_millis(10), service.clone().oneshot(Request::default()))
            .await
            .is_err()
    );
    assert_eq!(calls.load(Ordering::Relaxed), 2, "one goes first");
    first.abort();
    assert!(second.await.unwrap().is_err(), "it went when the first was gone");
    hang.store(3, Ordering::Relaxed);
    let start = Instant::now();
    burst(&service, 5).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn answers_from_a_cache_say_nothing() {
    let api = Api::new(|_| answer(200, &[("ratelimit", r#""a";r=0;t=100"#), ("age", "5")]));
    let service = layer().learn(Feedback::standard()).layer(api.service());
    for _ in 0..5 {
        service.clone().oneshot(Request::default()).await.unwrap();
    }
    assert_eq!(api.seconds(), [0; 5]);
}

#[tokio::test(start_paused = true)]
async fn bodies_are_reported_and_pauses_ended_by_hand() {
    let layer = layer().wait(Wait::reject());
    let limiter = layer.handle();
    // Shopify's GraphQL refuses with 200.
    limiter.report(Signal::throttled().retry_after(SECOND * 5));
    assert!(limiter.try_acquire(1).is_err());
    limiter.resume();
    limiter.try_acquire(1).unwrap();
    limiter.report(Signal::remaining(5).resets_in(SECOND * 10));
    limiter.try_acquire(5).unwrap();
    let limited = limiter.try_acquire(1).unwrap_err();
    assert!(SECOND * 10 <= limited.retry_after().unwrap());
    // What the server said stands, whatever is refunded here.
    limiter.refund(2);
    assert!(limiter.try_acquire(1).is_err());
}

#[tokio::test(start_paused = true)]
async fn learns_by_a_function() {
    let calm = learn_fn(|response: &Response<()>| {
        (response.status() == StatusCode::from_u16(420).unwrap()).then(Signal::throttled)
    });
    let api = Api::new(|number| answer(if number < 2 { 420 } else { 200 }, &[]));
    let feedback = Feedback::by(calm).unsaid_pause(SECOND * 3);
    let service = layer().learn(feedback).layer(api.service());
    for _ in 0..4 {
        service.clone().oneshot(Request::default()).await.unwrap();
    }
    let calls = api.seconds();
    assert!((3..=4).contains(&calls[1]) && (9..=11).contains(&calls[2]), "{calls:?}");
    assert_eq!(calls[2], calls[3]);
}

static LIST: Endpoint = Endpoint::new(Method::GET, "/list");
static SHOW: Endpoint = Endpoint::new(Method::GET, "/show");
static OTHER: Endpoint = Endpoint::new(Method::GET, "/other");

fn to(endpoint: &'static Endpoint) -> Request<()> {
    let mut request = Request::new(());
    endpoint.put_into(request.extensions_mut());
    request
}

/// Of the first call of `list`, everything is spent.
fn discord(
    global: &'static str,
) -> impl Service<Request<()>, Response = Response<()>, Error = Infallible, Future: Send> + Clone + Send
{
    let spent = Arc::new(AtomicU64::new(0));
    service_fn(move |request: Request<()>| {
        let endpoint = Endpoint::of(request.extensions()).unwrap();
        let first = endpoint == &LIST && spent.fetch_add(1, Ordering::Relaxed) == 0;
        let bucket = if endpoint == &OTHER { "other" } else { "one" };
        async move {
            Ok(match first {
                true => answer(
                    429,
                    &[
                        ("retry-after", "30"),
                        ("x-ratelimit-remaining", "0"),
                        ("x-ratelimit-reset-after", "30"),
                        ("x-ratelimit-bucket", bucket),
                        ("x-ratelimit-global", global),
                    ],
                ),
                false => answer(200, &[("x-ratelimit-bucket", bucket)]),
            })
        }
    })
}

#[tokio::test(start_paused = true)]
async fn each_key_learns_by_itself() {
    for (share, global, expected) in [
        (false, "false", [30, 0, 0]),
        (true, "false", [30, 30, 0]),
        (false, "true", [30, 0, 0]),
        (true, "true", [30, 30, 30]),
    ] {
        let feedback = Feedback::standard();
        let feedback = if share { feedback.share_buckets() } else { feedback };
        let service = layer().keyed(ByEndpoint).learn(feedback).layer(discord(global));
        // The names of buckets come with the answers.
        for endpoint in [&SHOW, &OTHER, &LIST] {
            service.clone().oneshot(to(endpoint)).await.unwrap();
        }
        let start = Instant::now();
        let mut waits = Vec::new();
        let calls = [&LIST, &SHOW, &OTHER].map(|endpoint| {
            let call = service.clone().oneshot(to(endpoint));
            tokio::spawn(async move {
                call.await.unwrap();
                start.elapsed().as_secs()
            })
        });
        for call in calls {
            waits.push(call.await.unwrap());
        }
        for (waited, expected) in waits.iter().zip(expected) {
            assert!((expected..=expected + 4).contains(waited), "{share} {global}: {waits:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_goes_by_the_bucket_that_its_key_moves_to() {
    let api = discord("false");
    let layer = layer().keyed(ByEndpoint).learn(Feedback::standard().share_buckets());
    let service = layer.layer(api);
    service.clone().oneshot(to(&LIST)).await.unwrap();
    // `show` waits by itself, until an answer moves it to the bucket of `list`.
    let (answered, moved) = oneshot::channel();
    let gated = tokio::spawn({
        let service = service.clone();
        async move {
            service.oneshot(to(&SHOW)).await.unwrap();
            answered.send(()).unwrap();
        }
    });
    moved.await.unwrap();
    gated.await.unwrap();
    let start = Instant::now();
    let mut calls = JoinSet::new();
    for _ in 0..3 {
        calls.spawn(service.clone().oneshot(to(&SHOW)));
    }
    while let Some(call) = calls.join_next().await {
        call.unwrap().unwrap();
        assert!(SECOND * 30 <= start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn costs_are_settled_by_the_answer() {
    let used = |used: &'static str| {
        service_fn(move |_: Request<()>| async move {
            Ok::<_, Infallible>(answer(200, &[("x-used", used)]))
        })
    };
    for (said, expected) in [("1", 99), ("30", 70), ("200", 0), ("0", 100), ("junk", 90)] {
        let layer = RateLimitLayer::new(Quota::per_second(1).burst(100))
            .cost(palisade_rate_limit::cost_fn(|_: &Request<()>| 10))
            .settle(settle_fn(|response: &Response<()>| {
                response.headers()["x-used"].to_str().ok()?.parse().ok()
            }));
        layer.layer(used(said)).oneshot(Request::default()).await.unwrap();
        assert_eq!(layer.handle().snapshot().available, expected, "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn waits_and_pauses_are_told() {
    let api = Api::new(|_| answer(200, &[("ratelimit", r#""a";r=0;t=5"#)]));
    let observer = Arc::new(RecordingObserver::new());
    let service =
        layer().observer(observer.clone()).learn(Feedback::standard()).layer(api.service());
    service.clone().oneshot(Request::default()).await.unwrap();
    service.oneshot(Request::default()).await.unwrap();
    let events: Vec<_> = observer.take().into_iter().map(|recorded| recorded.event).collect();
    let named = |name: &str| events.iter().filter(|event| event.contains(name)).count();
    assert_eq!((events.len(), named("Paused"), named("exhausted"), named("Waited")), (3, 2, 2, 1));
}

/// A server that allows so many in each second by its clock, with fields, and
/// answers in from 1 to 60 ms, so that answers overtake each other.
#[tokio::test(start_paused = true)]
async fn a_server_that_enforces_its_limit_refuses_hardly_anybody() {
    for seed in 0..10 {
        let start = Instant::now();
        let (window, refused) = (Arc::new(Mutex::new((0, 0_u64))), Arc::new(AtomicUsize::new(0)));
        let numbers = Arc::new(AtomicU64::new(seed));
        let counted = refused.clone();
        let api = service_fn(move |_: Request<()>| {
            let number =
                numbers.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
            let (window, refused) = (window.clone(), counted.clone());
            async move {
                sleep(Duration::from_millis(1 + number % 30)).await;
                let now = start.elapsed();
                let (used, left) = {
                    let mut window = window.lock().unwrap();
                    if window.0 != now.as_secs() {
                        *window = (now.as_secs(), 0);
                    }
                    window.1 += 1;
                    (window.1, SECOND * (now.as_secs() as u32 + 1) - now)
                };
                sleep(Duration::from_millis(1 + number % 29)).await;
                let reset = left.as_secs_f64().ceil();
                let limit = format!(r#""a";r={};t={reset}"#, 100_u64.saturating_sub(used));
                if used <= 100 {
                    return Ok::<_, Infallible>(answer(200, &[("ratelimit", &limit)]));
                }
                refused.fetch_add(1, Ordering::Relaxed);
                Ok(answer(429, &[("ratelimit", &limit), ("retry-after", "1")]))
            }
        });
        let service = layer().learn(Feedback::standard()).layer(api);
        let mut tasks = JoinSet::new();
        let served = Arc::new(AtomicUsize::new(0));
        for _ in 0..64 {
            let (service, served) = (service.clone(), served.clone());
            tasks.spawn(async move {
                while start.elapsed() < SECOND * 20 {
                    let answer = service.clone().oneshot(Request::default()).await.unwrap();
                    served.fetch_add(usize::from(answer.status() == 200), Ordering::Relaxed);
                }
            });
        }
        timeout(SECOND * 100, tasks.join_all()).await.unwrap();
        let (served, refused) = (served.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
        // Without learning, 20 times 64 requests in each 30 ms are refused.
        assert!(refused <= 64, "{refused} refused, {served} served");
        assert!(900 <= served, "{refused} refused, {served} served");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_server_is_not_throttled_for_ever() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let api = service_fn(move |_: Request<()>| {
        let number = counted.fetch_add(1, Ordering::Relaxed);
        async move {
            sleep(Duration::from_millis(1500)).await;
            Ok::<_, Infallible>(if number == 0 {
                answer(429, &[("retry-after", "1")])
            } else {
                answer(200, &[])
            })
        }
    });
    let service = layer().learn(Feedback::standard()).layer(api);
    service.clone().oneshot(Request::default()).await.unwrap();
    let start = Instant::now();
    burst(&service, 300).await;
    assert!(start.elapsed() < SECOND * 10, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_pause_by_a_report_just_ends() {
    let limiter = palisade_rate_limit::Limiter::new(Quota::per_second(1000)).wait(Wait::forever());
    limiter.report(Signal::throttled().retry_after(SECOND * 2));
    let start = Instant::now();
    for _ in 0..200 {
        limiter.acquire(1).await.unwrap();
    }
    assert!(SECOND * 2 <= start.elapsed() && start.elapsed() < SECOND * 3);
}

#[tokio::test(start_paused = true)]
async fn what_was_learned_long_ago_holds_no_place() {
    for fields in [[("retry-after", "1")], [("ratelimit", r#""a";r=5;t=999999999999"#)]] {
        let api = Api::new(move |_| answer(429, &fields));
        let by = palisade_core::key_fn(|head: palisade_core::Head<'_>| head.uri.path().to_owned());
        let layer = layer()
            .wait(Wait::reject())
            .scope(palisade_rate_limit::Keyed::by(by).max_keys(100))
            .learn(Feedback::standard());
        let service = layer.layer(api.service());
        for round in 0..2 {
            for key in 0..100 {
                let request = Request::get(format!("/{round}/{key}")).body(()).unwrap();
                let _ = service.clone().oneshot(request).await;
            }
            tokio::time::advance(SECOND * 86_400 * 30).await;
        }
        assert_eq!(layer.limiters().overflowed(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_speaks_for_itself_alone() {
    let api = service_fn(|request: Request<()>| async move {
        let evil = request.uri().host() == Some("evil.example");
        let fields = [
            ("retry-after", "100"),
            ("x-ratelimit-global", "true"),
            ("x-ratelimit-bucket", "core"),
        ];
        Ok::<_, Infallible>(match evil {
            true => answer(429, &fields),
            false => answer(200, &fields[2..]),
        })
    });
    let service = layer()
        .keyed(palisade_core::ByAuthority)
        .learn(Feedback::standard().share_buckets())
        .layer(api);
    let get = |host: &str| Request::get(format!("http://{host}.example/")).body(()).unwrap();
    for host in ["good", "evil", "good", "other"] {
        service.clone().oneshot(get(host)).await.unwrap();
    }
    let start = Instant::now();
    service.clone().oneshot(get("good")).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    service.oneshot(get("evil")).await.unwrap();
    assert!(SECOND * 100 <= start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_shares_a_bucket_is_woken_when_another_opens_it() {
    let api = discord("true");
    let layer = layer().keyed(ByEndpoint).learn(Feedback::standard().share_buckets());
    let service = layer.layer(api);
    service.clone().oneshot(to(&LIST)).await.unwrap();
    let start = Instant::now();
    let calls = [&LIST, &SHOW, &OTHER].map(|endpoint| {
        let call = service.clone().oneshot(to(endpoint));
        tokio::spawn(async move { call.await.map(|_| start.elapsed()).unwrap() })
    });
    tokio::task::yield_now().await;
    sleep(SECOND).await;
    // The handle of one ends it for all of that host.
    layer.limiters().get(&Some(&LIST)).unwrap().resume();
    for call in calls {
        assert!(call.await.unwrap() <= SECOND * 2);
    }
}

#[tokio::test(start_paused = true)]
async fn who_shares_a_bucket_goes_when_another_was_answered_first() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let api = service_fn(move |_: Request<()>| {
        let number = counted.fetch_add(1, Ordering::Relaxed);
        async move {
            sleep(Duration::from_millis(10)).await;
            let status = if number == 2 { 429 } else { 200 };
            Ok::<_, Infallible>(answer(
                status,
                &[("retry-after", "5"), ("x-ratelimit-bucket", "one")],
            ))
        }
    });
    let layer = layer().keyed(ByEndpoint).learn(Feedback::standard().share_buckets());
    let service = layer.layer(api);
    for endpoint in [&LIST, &SHOW, &SHOW] {
        service.clone().oneshot(to(endpoint)).await.unwrap();
    }
    sleep(SECOND * 6).await;
    let start = Instant::now();
    let first = tokio::spawn(service.clone().oneshot(to(&LIST)));
    tokio::task::yield_now().await;
    service.clone().oneshot(to(&SHOW)).await.unwrap();
    first.await.unwrap().unwrap();
    assert!(start.elapsed() <= Duration::from_millis(40), "{:?}", start.elapsed());
}

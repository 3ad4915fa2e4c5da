use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use http::{HeaderValue, Request, Response};
use palisade_auth::{Applied, Authenticator, Bearer, Refused, Stamp};
use palisade_cache::{HttpCacheLayer, MemoryStore};
use palisade_circuit_breaker::{self as circuit_breaker, CircuitBreakerLayer, Open, Trip};
use palisade_client::{Body, Client, ClientBuilder, HttpService, Problem};
use palisade_core::{BoxError, ByAuthority, ErrorKind, Origins};
use palisade_metrics::Registry;
use palisade_rate_limit::{
    ConcurrencyLimitLayer, Limited, Quota, RateLimitLayer, Wait, respond_fn,
};
use palisade_retry::{Backoff, RetryLayer, schedule_fn};
use tokio::time::Instant;
use tower::{ServiceExt, service_fn, util::MapRequestLayer};

use crate::servers::{get, text};

/// An API that answers by the number of the request, and counts.
fn api<A>(answer: A) -> (impl HttpService, Arc<AtomicUsize>)
where
    A: Fn(usize, &Request<Body>) -> Result<Response<Body>, BoxError>
        + Clone
        + Send
        + Sync
        + 'static,
{
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let service = service_fn(move |request: Request<Body>| {
        let answer = answer(counted.fetch_add(1, Ordering::Relaxed), &request);
        async move { answer }
    });
    (service, count)
}

fn status(status: u16) -> Result<Response<Body>, BoxError> {
    Ok(Response::builder().status(status).body(Body::from("answer"))?)
}

/// Makes some requests, and returns what came of them and how many the API saw.
async fn run(client: ClientBuilder, requests: usize, answer: u16) -> (Vec<u16>, usize) {
    let (api, count) = api(move |_, _| status(answer));
    let client = client.build_over(api).unwrap();
    let mut statuses = Vec::new();
    for _ in 0..requests {
        let answer = client.clone().oneshot(get("https://api.example/users")).await;
        statuses.push(answer.map_or(0, |response| response.status().as_u16()));
    }
    (statuses, count.load(Ordering::Relaxed))
}

#[tokio::test(start_paused = true)]
async fn retries_are_there_unless_told_otherwise() {
    let other = || RetryLayer::http().attempts(5);
    for (client, requests) in [
        (Client::builder(), 3),
        (Client::builder().no_retry(), 1),
        (Client::builder().retry(other()), 5),
        // Of another type.
        (Client::builder().retry(other().backoff(schedule_fn(|_| Duration::from_secs(1)))), 5),
        (Client::builder().retry(other().backoff(Backoff::exponential(Duration::from_secs(1)))), 5),
    ] {
        let client = client.no_circuit_breaker();
        assert_eq!(run(client, 1, 503).await, (vec![503], requests));
    }
}

#[tokio::test(start_paused = true)]
async fn a_breaker_is_there_unless_told_otherwise() {
    let once = || CircuitBreakerLayer::http().trip(Trip::consecutive(1));
    let (_, all) = run(Client::builder().no_retry().no_circuit_breaker(), 200, 503).await;
    assert_eq!(all, 200);
    let (_, some) = run(Client::builder().no_retry(), 200, 503).await;
    assert!(some < 200, "{some}");
    for client in [
        Client::builder().circuit_breaker(once().keyed(ByAuthority)),
        Client::builder().circuit_breaker(once()),
    ] {
        assert_eq!(run(client.no_retry(), 3, 503).await, (vec![503, 0, 0], 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cache_answers_what_it_has() {
    let (api, count) = api(|_, _| {
        Ok(Response::builder().header("cache-control", "max-age=60").body(Body::from("once"))?)
    });
    for client in [
        Client::builder().cache(HttpCacheLayer::private(MemoryStore::new(1 << 20))),
        Client::builder().cache(HttpCacheLayer::shared(MemoryStore::new(1 << 20))),
    ] {
        let before = count.load(Ordering::Relaxed);
        let client = client.build_over(api.clone()).unwrap();
        for _ in 0..3 {
            let response = client.clone().oneshot(get("https://api.example/users")).await.unwrap();
            assert_eq!(text(response).await.unwrap(), "once");
        }
        assert_eq!(count.load(Ordering::Relaxed) - before, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn limits_make_requests_wait() {
    let quota = || RateLimitLayer::new(Quota::per_second(1).burst(1));
    for client in [
        Client::builder().rate_limit(quota()),
        Client::builder().rate_limit(quota().keyed(ByAuthority)),
    ] {
        let start = Instant::now();
        run(client, 3, 200).await;
        assert_eq!(start.elapsed(), Duration::from_secs(2));
    }
    let client = Client::builder().concurrency_limit(ConcurrencyLimitLayer::new(1));
    assert_eq!(run(client, 3, 200).await.0, [200; 3]);
}

#[tokio::test]
async fn credentials_go_to_their_origins_alone() {
    let (api, _) = api(|_, request| {
        let field = request.headers().get("authorization").cloned();
        Ok(Response::new(Body::from(field.map_or(String::new(), |field| format!("{field:?}")))))
    });
    let auth = Bearer::new("t0ken").unwrap();
    let client = Client::builder().auth(auth, Origins::new(["https://api.example"]));
    let client = client.build_over(api).unwrap();
    for (uri, told) in [("https://api.example/", "Sensitive"), ("https://evil.example/", "")] {
        let response = client.clone().oneshot(get(uri)).await.unwrap();
        assert_eq!(text(response).await.unwrap(), told);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_and_attempts_are_counted() {
    let registry = Registry::new();
    let (api, _) = api(|number, _| status(if number == 0 { 503 } else { 200 }));
    let client = Client::builder().metrics(&registry).build_over(api).unwrap();
    let response = client.oneshot(get("https://api.example/users")).await.unwrap();
    text(response).await.unwrap();
    let snapshot = registry.snapshot();
    assert_eq!((snapshot.calls.count(), snapshot.attempts.count()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn layers_of_ones_own_see_calls_and_attempts() {
    let (calls, attempts) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = |count: &Arc<AtomicUsize>| {
        let count = Arc::clone(count);
        MapRequestLayer::new(move |request: Request<Body>| {
            count.fetch_add(1, Ordering::Relaxed);
            request
        })
    };
    let client = Client::builder().layer(counts(&calls)).attempt_layer(counts(&attempts));
    assert_eq!(run(client.no_circuit_breaker(), 2, 503).await.1, 6);
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    assert_eq!(attempts.load(Ordering::Relaxed), 6);
}

#[tokio::test(start_paused = true)]
async fn errors_keep_their_kind_through_the_stack() {
    let (api, count) = api(|_, _| Err(ErrorKind::Tls.into()));
    let client = Client::builder().build_over(api).unwrap();
    let error = client.oneshot(get("https://api.example/")).await.unwrap_err();
    assert_eq!(ErrorKind::of(&*error), ErrorKind::Tls);
    assert!(1 <= count.load(Ordering::Relaxed));
}

/// How long it takes to make some requests, one each second, and how many reach the API.
async fn paced(client: ClientBuilder, requests: usize, answer: u16) -> (u64, usize) {
    let client = client.rate_limit(RateLimitLayer::new(Quota::per_second(1).burst(1)));
    let start = Instant::now();
    let (_, seen) = run(client, requests, answer).await;
    (start.elapsed().as_secs(), seen)
}

#[tokio::test(start_paused = true)]
async fn the_order_is_that_of_the_documentation() {
    // Each attempt takes a token: the limit is inside of retries.
    let retries = || RetryLayer::http().backoff(Backoff::constant(Duration::ZERO));
    let client = Client::builder().retry(retries()).no_circuit_breaker();
    assert_eq!(paced(client, 1, 503).await, (2, 3));

    // What the breaker refuses takes none: its gate is outside of the limit.
    let breaker = CircuitBreakerLayer::http().trip(Trip::consecutive(1)).keyed(ByAuthority);
    let client = Client::builder().no_retry().circuit_breaker(breaker);
    assert_eq!(paced(client, 5, 503).await, (0, 1));

    // What the cache has takes none either, and is a call but no attempt.
    let registry = Registry::new();
    let (api, count) = api(|_, _| {
        Ok(Response::builder().header("cache-control", "max-age=60").body(Body::empty())?)
    });
    let client = Client::builder()
        .metrics(&registry)
        .cache(HttpCacheLayer::private(MemoryStore::new(1 << 20)))
        .rate_limit(RateLimitLayer::new(Quota::per_second(1).burst(1)));
    let client = client.build_over(api).unwrap();
    let start = Instant::now();
    for _ in 0..3 {
        let response = client.clone().oneshot(get("https://api.example/users")).await.unwrap();
        text(response).await.unwrap();
    }
    assert_eq!((start.elapsed(), count.load(Ordering::Relaxed)), (Duration::ZERO, 1));
    let snapshot = registry.snapshot();
    assert_eq!((snapshot.calls.count(), snapshot.attempts.count()), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_may_be_answered() {
    let limit = RateLimitLayer::new(Quota::per_minute(1)).wait(Wait::reject());
    let client =
        Client::builder().no_retry().rate_limit(limit.on_refusal(respond_fn(Limited::problem)));
    let client =
        client.build_over(api(|_, _| status(200)).0).unwrap().base_url("https://api.example");
    assert_eq!(client.get("/users").send().await.unwrap().status(), 200);
    let refused = client.get("/users").send().await.unwrap();
    let problem = refused.json_or::<(), Problem>().await.unwrap().unwrap_err();
    assert_eq!(problem.value().title(), Some("Quota exceeded"));

    let breaker = CircuitBreakerLayer::http().trip(Trip::consecutive(1));
    let breaker = breaker.on_refusal(circuit_breaker::respond_fn(Open::response));
    let client = Client::builder().no_retry().circuit_breaker(breaker);
    assert_eq!(run(client, 3, 500).await, (vec![500, 503, 503], 1));
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_sent_again_if_it_is_short() {
    let bodies = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (seen, count) = (Arc::clone(&bodies), Arc::new(AtomicUsize::new(0)));
    let api = service_fn(move |request: Request<Body>| {
        let (seen, count) = (Arc::clone(&seen), Arc::clone(&count));
        async move {
            let body = http_body_util::BodyExt::collect(request.into_body()).await?.to_bytes();
            seen.lock().unwrap().push(body.len());
            let first = count.fetch_add(1, Ordering::Relaxed) % 2 == 0;
            status(if first { 503 } else { 200 })
        }
    });
    let client = Client::builder().build_over(api).unwrap();
    for (length, answer) in [(1000, 200), (100_000, 503)] {
        bodies.lock().unwrap().clear();
        let body = http_body_util::Full::new(bytes::Bytes::from(vec![b'x'; length]));
        let request = Request::put("https://api.example/upload").body(Body::stream(body)).unwrap();
        assert_eq!(client.clone().oneshot(request).await.unwrap().status(), answer);
        assert!(bodies.lock().unwrap().iter().all(|sent| *sent == length));
    }
}

/// Credentials of the user's own.
#[derive(Clone)]
struct Signature;

impl Authenticator for Signature {
    type Wait = std::future::Ready<Result<(), palisade_auth::AuthError>>;

    fn apply<B>(&self, request: &mut Request<B>) -> Applied<Self::Wait> {
        request.headers_mut().insert("x-signature", HeaderValue::from_static("s1gned"));
        Applied::Done(Stamp::FIXED)
    }

    fn refused<B>(&self, _: Stamp, _: &Response<B>) -> Refused<Self::Wait> {
        Refused::Final
    }
}

#[tokio::test]
async fn any_authenticator_will_do() {
    let (api, _) = api(|_, request| {
        assert_eq!(request.headers()["x-signature"], "s1gned");
        status(200)
    });
    let client = Client::builder().auth(Signature, Origins::new(["https://api.example"]));
    let answer = client.build_over(api).unwrap().oneshot(get("https://api.example/users")).await;
    assert_eq!(text(answer.unwrap()).await.unwrap(), "answer");
}

#[tokio::test(start_paused = true)]
async fn what_a_service_takes_within_one_poll_is_timed() {
    let slow = service_fn(|_: Request<Body>| async {
        let mut advance = pin!(tokio::time::advance(Duration::from_secs(5)));
        poll_fn(|cx| Poll::Ready(advance.as_mut().poll(cx).is_pending())).await;
        Ok::<_, BoxError>(Response::new(Body::empty()))
    });
    let registry = Registry::new();
    let client = Client::builder().metrics(&registry).build_over(slow).unwrap();
    client.oneshot(get("https://api.example/users")).await.unwrap();
    let snapshot = registry.snapshot();
    for requests in [snapshot.calls, snapshot.attempts] {
        assert_eq!(requests.times().max(), Some(Duration::from_secs(5)));
    }
}

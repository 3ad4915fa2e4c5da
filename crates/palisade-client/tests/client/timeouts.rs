use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use http::{Request, Response};
use http_body_util::BodyExt;
use palisade_cache::{HttpCacheLayer, MemoryStore, background_fn};
use palisade_client::{Body, Client, ClientBuilder, TimedOut, Timeouts};
use palisade_core::{BoxError, Deadline, ErrorKind, find_cause};
use palisade_rate_limit::{Quota, RateLimitLayer, Wait};
use palisade_retry::{Backoff, Jitter, RetryLayer};
use palisade_testkit::PausedClock;
use tokio::time::{Instant, sleep};
use tower::{ServiceExt, service_fn};

use crate::servers::get;

const SECOND: Duration = Duration::from_secs(1);

async fn hangs(_: Request<Body>) -> Result<Response<Body>, BoxError> {
    pending().await
}

#[tokio::test(start_paused = true)]
async fn an_attempt_and_a_call_end_in_time() {
    let client = Client::builder().build_over(service_fn(hangs)).unwrap();
    let start = Instant::now();
    let error = client.clone().oneshot(get("http://api.example/")).await.unwrap_err();
    assert_eq!(ErrorKind::of(&*error), ErrorKind::Timeout);
    assert_eq!(find_cause::<TimedOut>(&*error).unwrap().limit(), 60 * SECOND);
    assert_eq!(start.elapsed(), 60 * SECOND);

    let once = Client::builder().no_retry().build_over(service_fn(hangs)).unwrap();
    let error = once.oneshot(get("http://api.example/")).await.unwrap_err();
    assert_eq!(error.to_string(), "attempt took longer than 30s");
}

#[tokio::test(start_paused = true)]
async fn a_request_may_have_limits_of_its_own() {
    for (timeouts, seconds) in [
        (Timeouts::new().attempt(SECOND).total(2 * SECOND), 1..=2),
        (Timeouts::new().total(5 * SECOND), 5..=5),
        (Timeouts::new().total(Duration::MAX).attempt(100 * SECOND), 100..=100),
    ] {
        let client = Client::builder().no_retry().build_over(service_fn(hangs)).unwrap();
        let mut request = get("http://api.example/");
        request.extensions_mut().insert(timeouts);
        let start = Instant::now();
        client.oneshot(request).await.unwrap_err();
        assert!(seconds.contains(&start.elapsed().as_secs()), "{timeouts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_request_is_in_place_of_that_of_the_client() {
    let unlimited = Timeouts::new().attempt(Duration::MAX);
    let until = |seconds| (Instant::now() + seconds * SECOND).into_std();
    let client = Client::builder().no_retry().base_url("http://api.example/");
    let client = client.build_over(service_fn(hangs)).unwrap();
    let get = || client.get("/").extension(unlimited);
    for (request, seconds) in [
        (get().deadline(until(300)), 300),
        (get(), 60),
        (get().timeout(5 * SECOND), 5),
        (get().timeout(300 * SECOND), 300),
        // What is said of the call alone still holds.
        (get().extension(unlimited.total(7 * SECOND)).timeout(300 * SECOND), 7),
        (get().extension(unlimited.total(300 * SECOND)).timeout(7 * SECOND), 7),
        // The limit of an attempt is lifted by how long the answer may take, unless it is given.
        (client.get("/").timeout(300 * SECOND), 300),
        (client.get("/").deadline(until(3000)), 30),
        (client.get("/").extension(Timeouts::new().attempt(7 * SECOND)).timeout(300 * SECOND), 7),
    ] {
        let start = Instant::now();
        let error = request.send().await.unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
        assert_eq!(start.elapsed(), seconds * SECOND);
    }
    let forever = get().timeout(Duration::MAX).send();
    assert!(tokio::time::timeout(100_000 * SECOND, forever).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_a_request_brings_holds() {
    let client = Client::builder().build_over(service_fn(hangs)).unwrap();
    let mut request = get("http://api.example/");
    let start = Instant::now();
    request.extensions_mut().insert(Deadline((start + 3 * SECOND).into_std()));
    client.oneshot(request).await.unwrap_err();
    assert_eq!(start.elapsed(), 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn without_limits_a_call_takes_as_long_as_it_takes() {
    let slow = service_fn(|_: Request<Body>| async {
        sleep(3600 * SECOND).await;
        Ok::<_, BoxError>(Response::new(Body::empty()))
    });
    let client = Client::builder().attempt_timeout(None).total_timeout(None);
    let client = client.build_over(slow).unwrap();
    assert_eq!(client.oneshot(get("http://api.example/")).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_body_of_which_nothing_comes_fails() {
    let stalls = service_fn(|_: Request<Body>| async {
        Ok::<_, BoxError>(Response::new(Body::stream(Stalls)))
    });
    let client = Client::builder().build_over(stalls).unwrap();
    let response = client.oneshot(get("http://api.example/")).await.unwrap();
    let start = Instant::now();
    let error = response.into_body().collect().await.unwrap_err();
    assert_eq!(error.to_string(), "nothing came of the response's body for 30s");
    assert_eq!(start.elapsed(), 30 * SECOND);
}

struct Stalls;

impl http_body::Body for Stalls {
    type Data = bytes::Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, BoxError>>> {
        std::task::Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_call_ends_whatever_it_waits_for() {
    // In the first attempt, and in a later one.
    for (attempt, wait, total) in [(30, 1, 20), (15, 1, 20), (8, 1, 20)] {
        let answers = service_fn(move |_: Request<Body>| async move {
            sleep(attempt * SECOND).await;
            Ok::<_, BoxError>(Response::builder().status(503).body(Body::empty())?)
        });
        let backoff = Backoff::constant(wait * SECOND);
        let retry = RetryLayer::http().backoff(backoff).attempts(9);
        let client = Client::builder().retry(retry).total_timeout(total * SECOND);
        let client = client.no_circuit_breaker().build_over(answers).unwrap();
        let start = Instant::now();
        let error = client.oneshot(get("http://api.example/")).await.unwrap_err();
        assert_eq!(error.to_string(), "call took longer than 20s in all");
        assert_eq!(start.elapsed(), total * SECOND, "{attempt} {wait}");
    }
}

/// How long it takes to an answer of 503, and how many requests that were, where an attempt takes
/// five seconds.
async fn gives_up(client: ClientBuilder, request: Request<Body>) -> (u64, usize) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let down = service_fn(move |_: Request<Body>| {
        counted.fetch_add(1, Ordering::Relaxed);
        async {
            sleep(5 * SECOND).await;
            Ok::<_, BoxError>(Response::builder().status(503).body(Body::empty())?)
        }
    });
    let client = client.no_circuit_breaker().build_over(down).unwrap();
    let start = Instant::now();
    assert_eq!(client.oneshot(request).await.unwrap().status(), 503);
    (start.elapsed().as_secs(), count.load(Ordering::Relaxed))
}

#[tokio::test(start_paused = true)]
async fn no_wait_begins_that_cannot_end_within_the_time_of_a_call() {
    let backoff = Backoff::constant(20 * SECOND).jitter(Jitter::None);
    let patient = RetryLayer::http().backoff(backoff).attempts(9).deadline(600 * SECOND);
    let client = |total| Client::builder().retry(patient.clone()).total_timeout(total * SECOND);
    // A request that carries nothing.
    for (total, expected) in [(20, (5, 1)), (31, (30, 2)), (60, (55, 3))] {
        let answered = gives_up(client(total), get("http://api.example/")).await;
        assert_eq!(answered, expected, "{total}");
    }
    // One that brings a time of its own, shorter or longer than that of the client.
    for (wish, expected) in [(20, (5, 1)), (90, (80, 4))] {
        let mut request = get("http://api.example/");
        request.extensions_mut().insert(Timeouts::new().total(wish * SECOND));
        assert_eq!(gives_up(client(60), request).await, expected, "{wish}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_goes_by_deadlines_knows_the_time_of_a_call() {
    let quota = || RateLimitLayer::new(Quota::per_minute(1).burst(1));
    for (limit, seconds, kind) in [
        (Client::builder().rate_limit(quota().until_deadline()), 0, ErrorKind::Limited),
        (
            Client::builder().rate_limit(quota().wait(Wait::forever()).until_deadline()),
            0,
            ErrorKind::Limited,
        ),
        (Client::builder().rate_limit(quota().wait(Wait::forever())), 20, ErrorKind::Timeout),
    ] {
        let answers = service_fn(|_: Request<Body>| async {
            Ok::<_, BoxError>(Response::new(Body::empty()))
        });
        let client = limit.total_timeout(20 * SECOND).build_over(answers).unwrap();
        client.clone().oneshot(get("http://api.example/")).await.unwrap();
        let start = Instant::now();
        let error = client.oneshot(get("http://api.example/")).await.unwrap_err();
        assert_eq!((start.elapsed().as_secs(), ErrorKind::of(&*error)), (seconds, kind));
    }
}

// Nobody waits for it, and so nobody's time would end it.
#[tokio::test(start_paused = true)]
async fn what_a_cache_asks_for_in_the_background_has_the_time_of_a_call() {
    let asked = Arc::new(AtomicUsize::new(0));
    let call = Arc::new(());
    let calls = Arc::downgrade(&call);
    let api = service_fn(move |_: Request<Body>| {
        let (first, call) = (asked.fetch_add(1, Ordering::Relaxed) == 0, call.clone());
        async move {
            if !first {
                pending::<()>().await;
            }
            drop(call);
            let response = Response::builder();
            let fresh = "max-age=1, stale-while-revalidate=1000";
            Ok::<_, BoxError>(response.header("cache-control", fresh).body(Body::from("old"))?)
        }
    });
    let clock = PausedClock::starting_at(SystemTime::UNIX_EPOCH + 1000 * SECOND);
    let cache = HttpCacheLayer::private(MemoryStore::new(1 << 20))
        .clock(Arc::new(clock))
        .background(background_fn(|task| drop(tokio::spawn(task))));
    let client = Client::builder().cache(cache).no_retry().attempt_timeout(None);
    let client = client.base_url("http://api.example").build_over(api).unwrap();
    // That of a caller is none of its business.
    let read = async |limit| {
        let response = client.get("/").timeout(limit).send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "old");
    };
    read(SECOND).await;
    for limit in [SECOND, 100 * SECOND] {
        sleep(2 * SECOND).await;
        read(limit).await;
        sleep(59 * SECOND).await;
        assert_eq!(calls.strong_count(), 2, "it is asked for anew");
        sleep(2 * SECOND).await;
        assert_eq!(calls.strong_count(), 1);
    }
}

//! A client of default making, and an API that is down for a while.

use std::{
    io::ErrorKind,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use palisade_circuit_breaker::{Backoff, CircuitBreakerLayer, HalfOpen, Jitter, Trip};
use palisade_client::{Body, Client, ClientBuilder};
use palisade_core::{BoxError, ByAuthority};
use palisade_rate_limit::{Quota, RateLimitLayer};
use palisade_retry::RetryLayer;
use palisade_testkit::Random;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tower::{ServiceExt, service_fn};

use crate::servers::get;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const CALLS: usize = 2_000;

/// What became of the calls.
#[derive(Debug)]
struct Outcome {
    lost: usize,
    /// How many requests arrived, and how many of them in vain.
    requests: usize,
    in_vain: usize,
    took: Duration,
}

/// How an API answers.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// Within 20 milliseconds, and with 503 when it is down.
    Plain,
    /// As plain, but when it is down it refuses connections.
    Refusing,
    /// Some answers take long, and some fail at any time.
    Rough,
}

/// What the API does with the request of this number: how long it takes, and the status.
fn answer(manner: Manner, number: usize, is_down: bool) -> (Duration, Result<u16, ErrorKind>) {
    let mut dice = Random::seeded(number as u64);
    match (manner, is_down, dice.number() % 100) {
        (Manner::Refusing, true, _) => (Duration::ZERO, Err(ErrorKind::ConnectionRefused)),
        (Manner::Rough, true, _) => (100 * MS, Ok(503)),
        (Manner::Rough, false, 0 | 1) => (15 * MS, Ok(500)),
        (Manner::Rough, false, 2) => (15 * MS, Err(ErrorKind::ConnectionReset)),
        (Manner::Rough, false, 3..=5) => (400 * MS, Ok(200)),
        (Manner::Rough, false, more) => (15 * MS + more as u32 * MS / 3, Ok(200)),
        (_, is_down, _) => (20 * MS, Ok(if is_down { 503 } else { 200 })),
    }
}

/// Makes a call every 5 milliseconds, to an API that is down for a time.
async fn outlast(client: ClientBuilder, down: Range<Duration>, manner: Manner) -> Outcome {
    let start = Instant::now();
    let (requests, in_vain) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (seen, seen_in_vain) = (Arc::clone(&requests), Arc::clone(&in_vain));
    let api = service_fn(move |_: Request<Body>| {
        let number = seen.fetch_add(1, Ordering::Relaxed);
        let is_down = down.contains(&start.elapsed());
        seen_in_vain.fetch_add(usize::from(is_down), Ordering::Relaxed);
        async move {
            let (time, answer) = answer(manner, number, is_down);
            sleep(time).await;
            let status = answer.map_err(std::io::Error::from)?;
            Ok::<_, BoxError>(Response::builder().status(status).body(Body::empty())?)
        }
    });
    let client = client.build_over(api).unwrap();
    let mut calls = JoinSet::new();
    for number in 0..CALLS {
        let client = client.clone();
        calls.spawn(async move {
            sleep_until(start + 5 * MS * number as u32).await;
            let answer = client.oneshot(get("https://api.example/users")).await;
            answer.is_ok_and(|response| response.status() == 200)
        });
    }
    let lost = calls.join_all().await.into_iter().filter(|found| !found).count();
    let [requests, in_vain] = [requests, in_vain].map(|count| count.load(Ordering::Relaxed));
    Outcome { lost, requests, in_vain, took: start.elapsed() }
}

#[tokio::test(start_paused = true)]
async fn is_outlasted_without_a_storm() {
    // Chance decides when the breaker asks again, and with it who has failed thrice by then:
    // some 3 of all these calls, and in one of 100 runs 3 of a single outage's.
    let (mut lost, mut made) = (0, 0);
    for millis in [500, 1_000, 2_000, 5_000] {
        for manner in [Manner::Plain, Manner::Refusing, Manner::Rough] {
            let down = SECOND..SECOND + millis * MS;
            let outcome = outlast(Client::builder(), down, manner).await;
            lost += outcome.lost;
            made += CALLS;
            // What came in before the breaker opened, and probes.
            assert!(outcome.in_vain <= 60, "{millis} {outcome:?}");
            let rough = if let Manner::Rough = manner { CALLS / 20 } else { 0 };
            let most = CALLS + outcome.in_vain + rough;
            assert!(outcome.requests <= most, "{millis} {outcome:?}");
            assert!(outcome.took < 60 * SECOND, "{millis} {outcome:?}");
        }
    }
    assert!(lost <= made / 1_000, "{lost} of {made}");
}

#[tokio::test(start_paused = true)]
async fn is_not_outlasted_past_the_time_of_a_call() {
    // Of a retry layer that was told nothing of it, too.
    for client in [Client::builder(), Client::builder().retry(RetryLayer::http().attempts(9))] {
        let outcome =
            outlast(client.total_timeout(2 * SECOND), SECOND..60 * SECOND, Manner::Plain).await;
        assert!(CALLS / 2 < outcome.lost, "{outcome:?}");
        assert!(outcome.in_vain <= 100, "{outcome:?}");
        // Nobody waits for what cannot come in time.
        assert!(outcome.took < 12 * SECOND, "{outcome:?}");
    }
}

/// Ten requests at once, of which one goes each second, to an API that is down at first.
async fn in_line(client: ClientBuilder, down: Duration) -> (Vec<u16>, Vec<u64>) {
    let breaker = CircuitBreakerLayer::http()
        .trip(Trip::consecutive(2))
        .open_for(Backoff::constant(3_500 * MS).jitter(Jitter::None))
        .half_open(HalfOpen::permits(1).timeout(SECOND / 2))
        .keyed(ByAuthority);
    let start = Instant::now();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let times = Arc::clone(&seen);
    let api = service_fn(move |_: Request<Body>| {
        times.lock().unwrap().push(start.elapsed().as_secs());
        let status = if start.elapsed() < down { 503 } else { 200 };
        async move { Ok::<_, BoxError>(Response::builder().status(status).body(Body::empty())?) }
    });
    let client = client.no_retry().circuit_breaker(breaker).build_over(api).unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        calls.spawn(client.clone().oneshot(get("https://api.example/users")));
    }
    let mut statuses = Vec::new();
    while let Some(answer) = calls.join_next().await {
        statuses.push(answer.unwrap().map_or(0, |response| response.status().as_u16()));
    }
    let seen = seen.lock().unwrap().clone();
    (statuses, seen)
}

#[tokio::test(start_paused = true)]
async fn is_judged_without_the_line_before_it() {
    let quota = RateLimitLayer::new(Quota::per_second(1).burst(1));
    for client in [
        Client::builder().rate_limit(quota.clone()),
        Client::builder().rate_limit(quota.keyed(ByAuthority)),
    ] {
        let (statuses, seen) = in_line(client, 3 * SECOND).await;
        // Who is in line when the breaker opens is not sent. The one whose turn it is when that
        // is over is the probe, whose time begins only then; nobody is refused for those in line.
        assert_eq!(statuses, [503, 503, 0, 0, 0, 200, 200, 200, 200, 200]);
        assert_eq!(seen, [0, 1, 5, 6, 7, 8, 9]);
    }
}

//! Servers that say anything, and callers that do anything.

use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use palisade_core::{ByAuthority, Outcome};
use palisade_rate_limit::{
    Acquire, Aimd, ConcurrencyLimiter, Feedback, Gradient2, Keyed, LimitAlgorithm, LimitedReason,
    Limiter, OverBurst, Quota, RateLimitLayer, Sample, Signal, Verdict, Wait, cost_fn, settle_fn,
};
use tokio::{
    task::JoinSet,
    time::{Instant, advance, sleep, timeout},
};
use tower::{Layer, Service, ServiceExt, service_fn};

const MILLI: Duration = Duration::from_millis(1);
const TICK: Duration = Duration::from_millis(10);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn waiting(limiter: &Limiter) -> Acquire {
    let mut acquire = limiter.acquire(1);
    assert!(poll(&mut acquire).is_pending());
    acquire
}

fn unlimited() -> RateLimitLayer {
    RateLimitLayer::new(Quota::UNLIMITED).wait(Wait::forever().max_waiting(usize::MAX))
}

fn get(host: &str) -> Request<String> {
    Request::get(format!("http://{host}/")).body(String::new()).unwrap()
}

fn answer(status: u16, fields: &[(&'static str, &str)]) -> Response<()> {
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(()).unwrap()
}

/// Answers after so long, by the number of the call.
fn api<F>(
    latency: Duration,
    answer: F,
) -> impl Service<Request<String>, Response = Response<()>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static
where
    F: Fn(usize) -> Response<()> + Clone + Send + 'static,
{
    let calls = Arc::new(AtomicUsize::new(0));
    service_fn(move |_: Request<String>| {
        let answer = answer(calls.fetch_add(1, Ordering::Relaxed));
        async move {
            sleep(latency).await;
            Ok(answer)
        }
    })
}

// each probe that takes longer than the patience (1 s) is overtaken by another one, whose
// turn is a new one, so that the answer to the first is "no news". One request each second goes,
// for as long as there are any: 60 s in place of some 5 s.
#[tokio::test(start_paused = true)]
async fn a_slow_server_is_not_probed_for_ever() {
    let service =
        unlimited().learn(Feedback::standard()).layer(api(SECOND * 3 / 2, |number| match number {
            0 => answer(429, &[("retry-after", "1")]),
            _ => answer(200, &[]),
        }));
    let start = Instant::now();
    service.clone().oneshot(get("a")).await.unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..60 {
        calls.spawn(service.clone().oneshot(get("a")));
    }
    assert!(calls.join_all().await.iter().all(Result::is_ok));
    assert!(start.elapsed() < SECOND * 10, "{:?}", start.elapsed());
}

// without `learn` nobody answers the probe, and so the hold never ends: one request each
// second, for ever.
#[tokio::test(start_paused = true)]
async fn a_report_without_a_layer_that_learns_ends() {
    let limiter = Limiter::new(Quota::UNLIMITED).wait(Wait::forever());
    limiter.report(Signal::throttled().retry_after(SECOND));
    sleep(SECOND * 2).await;
    limiter.acquire(1).await.unwrap();
    // The server has not complained for an hour.
    sleep(HOUR).await;
    let start = Instant::now();
    for _ in 0..10 {
        limiter.acquire(1).await.unwrap();
    }
    assert!(start.elapsed() <= SECOND * 2, "{:?}", start.elapsed());
}

// the same where a count was spent.
#[tokio::test(start_paused = true)]
async fn a_report_of_what_is_spent_ends() {
    let limiter = Limiter::new(Quota::UNLIMITED).wait(Wait::forever());
    limiter.report(Signal::remaining(0).resets_in(SECOND));
    sleep(HOUR).await;
    let start = Instant::now();
    for _ in 0..10 {
        limiter.acquire(1).await.unwrap();
    }
    assert!(start.elapsed() <= SECOND * 2, "{:?}", start.elapsed());
}

// a request that costs nothing takes away what was spent, and is no probe: all the others
// go at once.
#[tokio::test(start_paused = true)]
async fn a_request_without_a_cost_lets_no_herd_loose() {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let api = {
        let (sent, start) = (Arc::clone(&sent), Instant::now());
        service_fn(move |_: Request<String>| {
            sent.lock().unwrap().push(start.elapsed().as_secs());
            async {
                sleep(SECOND / 2).await;
                Ok::<_, Infallible>(answer(200, &[("ratelimit", r#""a";r=0;t=10"#)]))
            }
        })
    };
    let service = unlimited()
        .cost(cost_fn(|request: &Request<String>| u32::from(request.uri().host() != Some("free"))))
        .learn(Feedback::standard())
        .layer(api);
    service.clone().oneshot(get("a")).await.unwrap();
    let mut calls = JoinSet::new();
    sleep(SECOND * 12).await;
    calls.spawn(service.clone().oneshot(get("free")));
    tokio::task::yield_now().await;
    for _ in 0..20 {
        calls.spawn(service.clone().oneshot(get("a")));
    }
    sleep(SECOND / 4).await;
    // The free one, and one that goes first.
    let sent = sent.lock().unwrap().len();
    assert!(sent <= 3, "{sent} were sent");
}

// what was heard of a window that ends later than any that follows is never replaced:
// "it tells of a window that is over". What the server says from then on is not heard.
#[tokio::test(start_paused = true)]
async fn one_wrong_reset_makes_nobody_deaf() {
    let service = unlimited().learn(Feedback::standard()).layer(api(TICK, |number| match number {
        0 => answer(
            200,
            &[("x-ratelimit-remaining", "1000000"), ("x-ratelimit-reset", "99999999999999999")],
        ),
        _ => answer(200, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "60")]),
    }));
    for _ in 0..2 {
        service.clone().oneshot(get("a")).await.unwrap();
        sleep(SECOND).await;
    }
    let start = Instant::now();
    service.oneshot(get("a")).await.unwrap();
    assert!(SECOND * 50 < start.elapsed(), "nothing is left for a minute: {:?}", start.elapsed());
}

// a server that tells of an hour and of a minute under one name, as many do that tell of
// the quota with the least left: that the minute is spent is not heard, though the request was
// sent after all that was heard before.
#[tokio::test(start_paused = true)]
async fn the_shorter_of_two_windows_is_heard() {
    let service = unlimited().learn(Feedback::standard()).layer(api(TICK, |number| match number {
        0 => answer(200, &[("x-ratelimit-remaining", "500"), ("x-ratelimit-reset", "3600")]),
        _ => answer(200, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "30")]),
    }));
    for _ in 0..2 {
        service.clone().oneshot(get("a")).await.unwrap();
        sleep(SECOND).await;
    }
    let start = Instant::now();
    service.oneshot(get("a")).await.unwrap();
    assert!(SECOND * 20 < start.elapsed(), "nothing is left for 30 s: {:?}", start.elapsed());
}

/// Asks one host after the other, and then, much later, for one more. How many found no place?
async fn overflowed(latest: impl Fn(usize) -> Response<()> + Clone + Send + 'static) -> u64 {
    let layer = unlimited().scope(Keyed::by(ByAuthority).max_keys(2)).learn(Feedback::standard());
    let service = layer.layer(api(TICK, latest));
    for host in ["a", "b"] {
        service.clone().oneshot(get(host)).await.unwrap();
    }
    sleep(HOUR * 24 * 30).await;
    for host in ["c", "d", "c", "d"] {
        service.clone().oneshot(get(host)).await.unwrap();
    }
    layer.limiters().overflowed()
}

#[tokio::test(start_paused = true)]
async fn keys_that_were_answered_make_place() {
    assert_eq!(overflowed(|_| answer(200, &[("ratelimit", "a;r=5;t=60")])).await, 0);
}

// the hold of a key that nobody asks for again never ends, so its place is never free: the
// last answer was a 429, as it is where callers give up.
#[tokio::test(start_paused = true)]
async fn keys_that_were_refused_make_place() {
    assert_eq!(overflowed(|_| answer(429, &[("retry-after", "5")])).await, 0);
}

// a window of ages keeps the place of its key for ages: `max_pause` bounds pauses alone.
#[tokio::test(start_paused = true)]
async fn keys_with_windows_without_an_end_make_place() {
    assert_eq!(overflowed(|_| answer(200, &[("ratelimit", "a;r=5;t=999999999999999")])).await, 0);
}

// a pause of all keys that is ended by hand wakes those alone that wait for the limiter by
// which it was ended. Others sleep on, and those that come after them are in line behind them.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_pause_of_all_keys_is_heard_by_all() {
    let layer = unlimited().keyed(ByAuthority).learn(Feedback::standard());
    let service = layer.layer(api(TICK, |number| match number {
        0 => answer(200, &[]),
        1 => answer(429, &[("retry-after", "200"), ("x-ratelimit-global", "true")]),
        _ => answer(200, &[]),
    }));
    service.clone().oneshot(get("b")).await.unwrap();
    service.clone().oneshot(get("a")).await.unwrap();
    let start = Instant::now();
    let mut other = tokio::spawn(service.clone().oneshot(get("b")));
    sleep(SECOND).await;
    layer.limiters().get(&Some("a".to_owned())).unwrap().resume();
    // One that has nobody in line goes at once.
    service.clone().oneshot(get("c")).await.unwrap();
    assert!(start.elapsed() < SECOND * 2);
    let other = timeout(SECOND * 5, &mut other).await;
    assert!(other.is_ok(), "it sleeps on");
}

// `charge(now, 0)` moves a bucket up to now, and with that takes back what being late by a
// timer was made up for: under `Debt` a quota of 3333 a second lets 2000 go.
#[tokio::test(start_paused = true)]
async fn debts_cost_no_accuracy() {
    let elapsed = async |over_burst| {
        let limiter = Limiter::new(Quota::every(MILLI * 3 / 10)).over_burst(over_burst);
        let limiter = limiter.wait(Wait::forever());
        let start = Instant::now();
        let mut line = JoinSet::new();
        (0..1000).for_each(|_| drop(line.spawn(limiter.acquire(1))));
        line.join_all().await;
        start.elapsed()
    };
    let (refuse, debt) = (elapsed(OverBurst::Refuse).await, elapsed(OverBurst::Debt).await);
    assert!(debt < refuse * 11 / 10, "{debt:?} and not {refuse:?}");
}

// what is settled after it was learned from counts twice: the server's number knew already.
#[tokio::test(start_paused = true)]
async fn what_a_server_counts_is_not_settled_again() {
    let left = Arc::new(AtomicUsize::new(5000));
    let layer = unlimited()
        .cost(cost_fn(|_: &Request<String>| 1000))
        .learn(Feedback::standard().count_costs())
        .settle(settle_fn(|_: &Response<()>| Some(10)));
    let handle = layer.handle();
    let counts = Arc::clone(&left);
    let service = layer.layer(api(TICK, move |_| {
        let left = counts.fetch_sub(10, Ordering::Relaxed) - 10;
        answer(200, &[("ratelimit", &format!("tokens;r={left};t=60"))])
    }));
    service.oneshot(get("a")).await.unwrap();
    // 4990 are left.
    handle.try_acquire(4990).unwrap();
    assert!(handle.try_acquire(1).is_err(), "more went than the server has");
}

// a future that has panicked keeps its ticket for as long as it is kept: the others wait
// for the probe (for a second), and what it cost stays in flight. `PermitFuture` does better.
#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_is_lost_at_once() {
    let calls = Arc::new(AtomicUsize::new(0));
    let api = service_fn(move |_: Request<String>| {
        let number = calls.fetch_add(1, Ordering::Relaxed);
        async move {
            assert_ne!(number, 1, "as told");
            let status = if number == 0 { 429 } else { 200 };
            Ok::<_, Infallible>(answer(status, &[("retry-after", "1")]))
        }
    });
    let service = unlimited().learn(Feedback::standard()).layer(api);
    service.clone().oneshot(get("a")).await.unwrap();
    sleep(SECOND * 2).await;
    let mut probe = pin!(service.clone().oneshot(get("a")));
    let mut poll = || probe.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(catch_unwind(AssertUnwindSafe(&mut poll)).is_err());
    let start = Instant::now();
    service.oneshot(get("a")).await.unwrap();
    assert!(start.elapsed() < TICK, "{:?}", start.elapsed());
}

// the first report makes room for ten thousand buckets' locks, for each limiter anew.
#[tokio::test(start_paused = true)]
async fn a_report_takes_little_memory() {
    let limiter = Limiter::new(Quota::UNLIMITED);
    let counted =
        allocation_counter::measure(|| limiter.report(Signal::remaining(5).resets_in(SECOND)));
    assert!(counted.bytes_current < 2000, "{counted:?}");
}

/// A plain generator of numbers that are as good as any.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_a_server_says_no_pause_is_longer_than_it_may_be() {
    let numbers = [
        "0",
        "1",
        "-1",
        "60",
        "999999999999999",
        "9999999999999999999999",
        "1e9",
        "1.5",
        "junk",
        "",
        "1800000000",
        "1800000000000",
        "Fri, 15 Jan 1990 08:01:00 GMT",
        "Fri, 15 Jan 2100 08:01:00 GMT",
        "1, 2, junk",
        "5, 9",
    ];
    let fields = [
        "retry-after",
        "x-ratelimit-remaining",
        "x-ratelimit-limit",
        "x-ratelimit-reset",
        "x-ratelimit-reset-after",
        "ratelimit-remaining",
        "ratelimit-reset",
        "x-rate-limit-reset",
        "x-ratelimit-global",
        "x-ratelimit-bucket",
        "date",
        "age",
        "x-shopify-shop-api-call-limit",
    ];
    for seed in 1..60_u64 {
        let dice = Arc::new(Mutex::new(Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))));
        let layer = unlimited()
            .keyed(ByAuthority)
            .learn(Feedback::standard().share_buckets().max_pause(SECOND * 20));
        let service = {
            let dice = Arc::clone(&dice);
            layer.layer(service_fn(move |_: Request<String>| {
                let (response, latency, fails) = {
                    let mut dice = dice.lock().unwrap();
                    let status = [200, 200, 429, 429, 403, 503, 500][dice.roll(7) as usize];
                    let mut response = Response::builder().status(status);
                    for _ in 0..dice.roll(6) {
                        let value = match dice.roll(4) {
                            0 => "true",
                            _ => numbers[dice.roll(numbers.len() as u64) as usize],
                        };
                        response =
                            response.header(fields[dice.roll(fields.len() as u64) as usize], value);
                    }
                    if dice.roll(2) == 0 {
                        let number = |dice: &mut Dice| numbers[dice.roll(8) as usize];
                        let value = format!(
                            "q{};r={};t={}",
                            dice.roll(20),
                            number(&mut dice),
                            number(&mut dice)
                        );
                        response = response.header("ratelimit", value);
                    }
                    (response.body(()).unwrap(), MILLI * dice.roll(3000) as u32, dice.roll(6) == 0)
                };
                async move {
                    sleep(latency).await;
                    if fails {
                        Err(std::io::Error::from(std::io::ErrorKind::NotConnected))
                    } else {
                        Ok(response)
                    }
                }
            }))
        };
        let mut calls = JoinSet::new();
        for number in 0..200_u32 {
            let (host, service) = (["a", "b", "c"][number as usize % 3], service.clone());
            calls.spawn(async move {
                sleep(MILLI * (number * 37)).await;
                let call = service.oneshot(get(host));
                // Some are dropped, wherever they are.
                if number % 7 == 0 {
                    drop(timeout(MILLI * (number * 13), call).await);
                } else {
                    drop(call.await);
                }
            });
        }
        let start = Instant::now();
        while !calls.is_empty() {
            for (_, limiter) in layer.limiters().all() {
                let paused = limiter.snapshot().paused_for.unwrap_or_default();
                assert!(paused <= SECOND * 22, "{paused:?} by {seed}");
            }
            sleep(SECOND).await;
            while calls.try_join_next().is_some() {}
            assert!(start.elapsed() < HOUR * 2, "{} are stuck by {seed}", calls.len());
        }
        for (_, limiter) in layer.limiters().all() {
            assert_eq!(limiter.snapshot().waiting, 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn names_without_an_end_take_bounded_memory() {
    let layer = unlimited().learn(Feedback::standard().share_buckets());
    let service = layer.layer(api(Duration::ZERO, |number| {
        let (bucket, quota) =
            (format!("bucket-{number}"), format!("q{number};r=5;t=999999999999999"));
        answer(200, &[("x-ratelimit-bucket", &bucket), ("ratelimit", &quota)])
    }));
    for _ in 0..12_000 {
        service.clone().oneshot(get("a")).await.unwrap();
    }
    let counted = {
        let mut service = service.clone();
        let mut calls: Vec<_> = (0..1000).map(|_| Box::pin(service.call(get("a")))).collect();
        allocation_counter::measure(|| {
            for call in &mut calls {
                let _ = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            }
        })
    };
    assert!(counted.bytes_current < 100_000, "{counted:?}");
}

#[tokio::test(start_paused = true)]
async fn all_of_a_thousand_leave_and_nothing_is_lost() {
    for order in 0..4 {
        let limiter = Limiter::new(Quota::every(TICK)).wait(Wait::forever());
        limiter.try_acquire(1).unwrap();
        let mut line: Vec<_> = (0..1000).map(|_| Some(waiting(&limiter))).collect();
        for place in 0..1000 {
            let place = [place, 999 - place, place * 7 % 1000, place ^ 1][order];
            line[place] = None;
        }
        assert_eq!(limiter.snapshot().waiting, 0);
        advance(TICK).await;
        limiter.try_acquire(1).unwrap();
        assert!(limiter.try_acquire(1).is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_stands_still_makes_nobody_spin() {
    let limiter = Limiter::new(Quota::every(TICK)).wait(Wait::forever());
    limiter.try_acquire(1).unwrap();
    let mut first = waiting(&limiter);
    let mut others: Vec<_> = (0..20).map(|_| waiting(&limiter)).collect();
    // Polled without a reason.
    for _ in 0..10_000 {
        assert!(poll(&mut first).is_pending());
    }
    for _ in 0..100 {
        assert!(others.iter_mut().all(|other| poll(other).is_pending()));
    }
    advance(TICK).await;
    assert!(poll(&mut first).is_ready());
    assert!(others.iter_mut().all(|other| poll(other).is_pending()));
}

#[test]
fn the_line_outlives_a_runtime() {
    let limiter = Limiter::new(Quota::every(TICK * 5)).wait(Wait::forever());
    limiter.try_acquire(1).unwrap();
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    };
    let (one, two) = (runtime(), runtime());
    let firsts: Vec<_> = (0..10).map(|_| one.spawn(limiter.acquire(1))).collect();
    std::thread::sleep(TICK);
    let second = two.spawn(limiter.acquire(1));
    std::thread::sleep(TICK);
    assert!(10 <= limiter.snapshot().waiting);
    // One that waits is moved over, with the timer of a runtime that is gone.
    let mut moved = limiter.acquire(1);
    {
        let _guard = one.enter();
        assert!(poll(&mut moved).is_pending());
    }
    one.shutdown_background();
    drop(firsts);
    two.block_on(async {
        timeout(SECOND * 10, second).await.expect("it is stuck").unwrap().unwrap();
        timeout(SECOND * 10, moved).await.expect("it is stuck").unwrap();
    });
    assert_eq!(limiter.snapshot().waiting, 0);
}

/// Words that grow while others take from them, and keys that come and go.
#[test]
fn words_that_grow_under_contention_lose_and_double_nothing() {
    for round in 0..30 {
        let layer = RateLimitLayer::new(Quota::per_hour(1).burst(1000))
            .wait(Wait::reject())
            .scope(Keyed::by(ByAuthority).max_keys(8));
        let api = service_fn(|_: Request<String>| async { Ok::<_, Infallible>(answer(200, &[])) });
        let (service, limiters) = (layer.layer(api), layer.limiters());
        // It has a place before there are others.
        let mut first = Box::pin(service.clone().oneshot(get("one")));
        assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
        let stop = AtomicBool::new(false);
        let granted: usize = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..3)
                .map(|_| {
                    let service = service.clone();
                    scope.spawn(move || {
                        let calls = (0..600).map(|_| {
                            let mut call = Box::pin(service.clone().oneshot(get("one")));
                            let polled =
                                call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                            matches!(polled, Poll::Ready(Ok(_)))
                        });
                        calls.filter(|granted| *granted).count()
                    })
                })
                .collect();
            let flood = service.clone();
            let (limiters, stop_flood) = (limiters.clone(), &stop);
            scope.spawn(move || {
                for number in 0_u64.. {
                    if stop_flood.load(Ordering::Relaxed) {
                        break;
                    }
                    let mut call = Box::pin(flood.clone().oneshot(get(&format!("h{number}"))));
                    let _ = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                    if number % 50 == round {
                        drop(limiters.get(&Some("one".to_owned())));
                    }
                }
            });
            let granted = takers.into_iter().map(|taker| taker.join().unwrap()).sum();
            stop.store(true, Ordering::Relaxed);
            granted
        });
        assert_eq!(granted, 999, "in round {round}");
        assert!(limiters.len() <= 8);
    }
}

#[tokio::test(start_paused = true)]
async fn handles_hold_keys_that_are_words() {
    let layer =
        RateLimitLayer::new(Quota::every(TICK).burst(3)).wait(Wait::reject()).keyed(ByAuthority);
    let service = layer.layer(api(Duration::ZERO, |_| answer(200, &[])));
    service.clone().oneshot(get("a")).await.unwrap();
    // It is but a word, and is paused nevertheless.
    layer.limiters().pause(SECOND);
    assert!(service.clone().oneshot(get("a")).await.is_err());
    sleep(SECOND * 2).await;
    for _ in 0..3 {
        service.clone().oneshot(get("a")).await.unwrap();
    }
    assert!(service.clone().oneshot(get("a")).await.is_err());
    service.clone().oneshot(get("b")).await.unwrap();
    let handle = layer.limiters().get(&Some("b".to_owned())).unwrap();
    assert_eq!(handle.snapshot().available, 2);
    handle.charge(2);
    assert!(service.oneshot(get("b")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn costs_beyond_all_bounds_panic_nowhere() {
    let hour = Quota::per_hour(1).burst(2);
    for quota in [Quota::UNLIMITED, hour, Quota::per_second(1_000_000_000)] {
        for over_burst in [OverBurst::Refuse, OverBurst::Debt] {
            let limiter =
                Limiter::new(quota).and(quota).over_burst(over_burst).wait(Wait::up_to(SECOND));
            limiter.report(Signal::remaining(u64::MAX).resets_in(Duration::MAX));
            for cost in [0, 1, u32::MAX, 0] {
                let _ = limiter.try_acquire(cost);
                limiter.charge(cost);
                limiter.charge(u32::MAX);
                limiter.refund(cost);
                limiter.refund(u32::MAX);
                let _ = timeout(SECOND * 3, limiter.acquire(cost)).await.unwrap();
            }
            limiter.pause(Duration::MAX);
            limiter.report(Signal::throttled().retry_after(Duration::MAX).resets_in(Duration::MAX));
            assert!(timeout(SECOND * 2, limiter.acquire(0)).await.unwrap().is_err());
            limiter.resume();
            let _ = limiter.snapshot();
        }
    }
}

#[test]
fn permits_of_many_threads_come_back() {
    let limiter = ConcurrencyLimiter::new(3).wait(Wait::up_to(SECOND * 20));
    let (most, at_once, stop) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6_usize)
            .map(|thread| {
                let (limiter, at_once, most) = (limiter.clone(), &at_once, &most);
                scope.spawn(move || {
                    let runtime =
                        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(async {
                        for turn in 0..2000 {
                            if (thread + turn) % 5 == 0 {
                                drop(timeout(Duration::ZERO, limiter.acquire()).await);
                                continue;
                            }
                            match timeout(SECOND * 10, limiter.acquire()).await.expect("it stalls")
                            {
                                Ok(permit) => {
                                    most.fetch_max(
                                        at_once.fetch_add(1, Ordering::SeqCst) + 1,
                                        Ordering::SeqCst,
                                    );
                                    if turn % 3 == 0 {
                                        tokio::task::yield_now().await;
                                    }
                                    at_once.fetch_sub(1, Ordering::SeqCst);
                                    if turn % 11 == 0 {
                                        let panics = catch_unwind(AssertUnwindSafe(|| {
                                            let _permit = permit;
                                            std::panic::resume_unwind(Box::new(()));
                                        }));
                                        assert!(panics.is_err());
                                    }
                                }
                                Err(limited) => assert_eq!(limited.reason(), LimitedReason::Shed),
                            }
                        }
                    });
                })
            })
            .collect();
        let (other, stop) = (limiter.clone(), &stop);
        scope.spawn(move || {
            let mut turn = 0_usize;
            while !stop.load(Ordering::Relaxed) {
                turn += 1;
                match turn % 9 {
                    0 => drop(other.shed()),
                    1 => other.set_limit(0),
                    2 => other.set_limit(1),
                    _ => other.set_limit(turn % 4),
                }
                std::thread::yield_now();
            }
            other.set_limit(3);
        });
        for thread in threads {
            // Zero may be what holds when all wait: the other thread goes on.
            thread.join().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let snapshot = limiter.snapshot();
    assert_eq!((snapshot.in_flight, snapshot.waiting), (0, 0));
    assert!(most.load(Ordering::SeqCst) <= 3);
    let permits: Vec<_> = (0..3).map(|_| limiter.try_acquire().unwrap()).collect();
    assert!(limiter.try_acquire().is_err());
    drop(permits);
}

fn feed(
    mut algorithm: impl LimitAlgorithm,
    samples: &[Sample],
    bounds: std::ops::RangeInclusive<usize>,
) {
    for sample in samples {
        algorithm.record(sample);
        assert!(bounds.contains(&algorithm.limit()), "{} after {sample:?}", algorithm.limit());
    }
}

#[test]
fn algorithms_bear_extremes() {
    let mut dice = Dice(7);
    let times = [
        Duration::ZERO,
        Duration::from_nanos(1),
        MILLI,
        HOUR,
        Duration::from_nanos(u64::MAX),
        Duration::MAX,
    ];
    let counts = [0, 1, 10, usize::MAX / 2, usize::MAX];
    let samples: Vec<_> = (0..20_000)
        .map(|_| {
            let verdict = [Verdict::Success, Verdict::Success, Verdict::Dropped, Verdict::Ignored]
                [dice.roll(4) as usize];
            Sample::new(
                times[dice.roll(6) as usize],
                times[dice.roll(6) as usize],
                counts[dice.roll(5) as usize],
                verdict,
            )
        })
        .collect();
    feed(Aimd::new(10).bounds(2..=50), &samples, 2..=50);
    feed(Gradient2::new(10).bounds(2..=50), &samples, 2..=50);
    feed(
        Gradient2::new(10).bounds(2..=50).tolerance(f64::MAX).smoothing(f64::MIN_POSITIVE),
        &samples,
        2..=50,
    );
    feed(Gradient2::new(1).bounds(1..=usize::MAX).long_run(0), &samples, 1..=usize::MAX);
    feed(Aimd::new(usize::MAX), &samples, 1..=usize::MAX);
    let mut aimd = Aimd::new(3).bounds(2..=9);
    for limit in [0, usize::MAX] {
        aimd.set_limit(limit);
        assert!((2..=9).contains(&aimd.limit()));
    }
}

// a sample whose end saturates (or a clock that begins anew) is the last one that is ever
// heard: `decreased_at` is beyond all that comes.
#[test]
fn one_sample_from_the_future_is_not_the_last_one() {
    let mut aimd = Aimd::new(10);
    aimd.record(&Sample::new(SECOND, Duration::MAX, 10, Verdict::Dropped));
    assert_eq!(aimd.limit(), 9);
    for second in 2..100 {
        aimd.record(&Sample::new(SECOND * second, MILLI, 10, Verdict::Dropped));
    }
    assert_eq!(aimd.limit(), 1);
}

#[tokio::test(start_paused = true)]
async fn adaptive_limits_forget_no_permit() {
    let limiter = ConcurrencyLimiter::adaptive(Aimd::new(4).bounds(1..=8)).wait(Wait::forever());
    let mut dice = Dice(99);
    let mut calls = JoinSet::new();
    for number in 0..400_u64 {
        let (limiter, roll) = (limiter.clone(), dice.roll(6));
        calls.spawn(async move {
            sleep(MILLI * (number as u32)).await;
            let Ok(Ok(mut permit)) =
                timeout(MILLI * (50 + 20 * number as u32), limiter.acquire()).await
            else {
                return;
            };
            sleep(TICK * (roll as u32)).await;
            match roll {
                0 => permit.record(Outcome::Throttled),
                1 => {}
                _ => permit.record(Outcome::Success),
            }
        });
    }
    let all = timeout(HOUR, calls.join_all()).await;
    assert!(all.is_ok(), "{limiter:?}");
    assert_eq!((limiter.snapshot().in_flight, limiter.snapshot().waiting), (0, 0));
}

// A probe that is dropped each time goes on to the next, one at a time.
#[tokio::test(start_paused = true)]
async fn probes_that_are_dropped_go_one_at_a_time() {
    let (at_once, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    struct Leaves(Arc<AtomicUsize>);
    impl Drop for Leaves {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let calls = Arc::new(AtomicUsize::new(0));
    let (seen, highest) = (Arc::clone(&at_once), Arc::clone(&most));
    let service =
        unlimited().learn(Feedback::standard()).layer(service_fn(move |_: Request<String>| {
            let first = calls.fetch_add(1, Ordering::Relaxed) == 0;
            highest.fetch_max(seen.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            let leaves = Leaves(Arc::clone(&seen));
            async move {
                if !first {
                    sleep(HOUR).await;
                }
                drop(leaves);
                Ok::<_, Infallible>(answer(429, &[("retry-after", "1")]))
            }
        }));
    service.clone().oneshot(get("a")).await.unwrap();
    let mut calls = JoinSet::new();
    for number in 0..50_u32 {
        calls.spawn(timeout(SECOND * 2 + TICK * number, service.clone().oneshot(get("a"))));
    }
    calls.join_all().await;
    assert!(most.load(Ordering::Relaxed) <= 2, "{most:?} at once");
}

#[test]
fn threads_take_no_more_than_a_server_has() {
    let limiter = Limiter::new(Quota::UNLIMITED).wait(Wait::reject());
    limiter.report(Signal::remaining(3000).resets_in(HOUR));
    let granted: usize = std::thread::scope(|scope| {
        let take = || (0..2000).filter(|_| limiter.try_acquire(1).is_ok()).count();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(granted, 3000);
}

/// All that a limiter can be asked, from several threads at once: nothing locks for ever, and who
/// waits is let go.
#[test]
fn all_at_once_dead_locks_nobody() {
    let layer = RateLimitLayer::new(Quota::per_second(100_000).burst(10))
        .and(Quota::per_second(50_000).burst(5))
        .wait(Wait::up_to(SECOND * 5))
        .over_burst(OverBurst::Debt)
        .cost(cost_fn(|request: &Request<String>| {
            request.uri().host().map_or(0, |host| host.len() as u32)
        }))
        .scope(Keyed::by(ByAuthority).max_keys(3))
        .learn(Feedback::standard().share_buckets().max_pause(TICK).unsaid_pause(MILLI));
    let numbers = Arc::new(AtomicUsize::new(0));
    let service = layer.layer(service_fn(move |_: Request<String>| {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let bucket = format!("b{}", number % 5);
        let global = if number.is_multiple_of(9) { "true" } else { "false" };
        let response = match number % 4 {
            0 => answer(
                429,
                &[
                    ("x-ratelimit-bucket", &bucket),
                    ("x-ratelimit-global", global),
                    ("retry-after", "0.002"),
                ],
            ),
            1 => answer(200, &[("ratelimit", "a;r=3;t=0.01"), ("x-ratelimit-bucket", &bucket)]),
            _ => answer(200, &[]),
        };
        async move {
            if number.is_multiple_of(3) {
                tokio::task::yield_now().await;
            }
            if number.is_multiple_of(13) {
                Err(std::io::Error::from(std::io::ErrorKind::NotConnected))
            } else {
                Ok(response)
            }
        }
    }));
    let (done, stop) = (std::sync::mpsc::channel(), Arc::new(AtomicBool::new(false)));
    let (tell, told) = done;
    for thread in 0..3_usize {
        let (service, tell) = (service.clone(), tell.clone());
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut calls = JoinSet::new();
                for turn in 0..400_usize {
                    let host = ["a", "bb", "ccc", "dddd", "eeeeeeeeeee"][(turn * 7 + thread) % 5];
                    let call = service.clone().oneshot(get(host));
                    calls.spawn(timeout(if turn % 6 == 0 { MILLI } else { SECOND * 60 }, call));
                    if turn % 20 == 0 {
                        sleep(MILLI).await;
                    }
                }
                let ended = calls.join_all().await.into_iter().filter(Result::is_ok).count();
                tell.send(ended).unwrap();
            });
        });
    }
    let (limiters, stopped) = (layer.limiters(), Arc::clone(&stop));
    std::thread::spawn(move || {
        for turn in 0_usize.. {
            if stopped.load(Ordering::Relaxed) {
                break;
            }
            limiters.pause(Duration::from_micros(100));
            for (_, limiter) in limiters.all() {
                match turn % 6 {
                    0 => limiter.resume(),
                    1 => limiter.retune(&[Quota::per_second(100_000), Quota::UNLIMITED]).unwrap(),
                    2 => limiter.report(Signal::throttled().retry_after(MILLI)),
                    3 => limiter.report(Signal::remaining(2).resets_in(MILLI)),
                    4 => limiter.refund(1),
                    _ => drop(limiter.shed()),
                }
            }
            std::thread::yield_now();
        }
    });
    for _ in 0..3 {
        // Those alone may be late that were told to be.
        let ended = told.recv_timeout(SECOND * 60).expect("it is stuck");
        assert!(333 <= ended, "{ended}");
    }
    stop.store(true, Ordering::Relaxed);
}

#[tokio::test(start_paused = true)]
async fn functions_of_answers_that_panic_lose_one_answer() {
    let boom = Arc::new(AtomicUsize::new(0));
    let fails = |at: usize| {
        let boom = Arc::clone(&boom);
        move || assert_ne!(boom.load(Ordering::Relaxed), at, "as told")
    };
    let (learn, settle, classify) = (fails(1), fails(2), fails(3));
    let layer = RateLimitLayer::new(Quota::per_hour(100).burst(100))
        .wait(Wait::forever())
        .learn(Feedback::by(palisade_rate_limit::learn_fn(move |_: &Response<Full<Bytes>>| {
            learn();
            None
        })))
        .settle(settle_fn(move |_: &Response<_>| {
            settle();
            None
        }));
    let limits =
        palisade_rate_limit::ConcurrencyLimitLayer::<_, _, palisade_core::HttpClassify>::adaptive(
            Aimd::new(1),
        )
        .classify(palisade_core::classify_fn(
            move |_: Result<&Response<Full<Bytes>>, &Infallible>| {
                classify();
                Outcome::Success
            },
        ))
        .hold(palisade_rate_limit::UntilHead);
    let (handle, places) = (layer.handle(), limits.handle());
    let api = service_fn(|_: Request<String>| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let service = layer.layer(limits.layer(api));
    for at in 1..4 {
        // One that the server has to answer first.
        handle.report(Signal::throttled().retry_after(SECOND));
        sleep(SECOND * 2).await;
        boom.store(at, Ordering::Relaxed);
        let mut call = pin!(service.clone().oneshot(get("a")));
        let mut poll = || call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(catch_unwind(AssertUnwindSafe(&mut poll)).is_err(), "{at}");
        boom.store(0, Ordering::Relaxed);
        assert_eq!(places.snapshot().in_flight, 0, "{at}");
        if at != 3 {
            let start = Instant::now();
            service.clone().oneshot(get("a")).await.unwrap();
            assert_eq!(start.elapsed(), Duration::ZERO, "{at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_give_places_back_however_they_end() {
    let layer = palisade_rate_limit::ConcurrencyLimitLayer::new(1).wait(Wait::reject());
    let handle = layer.handle();
    let api = service_fn(|request: Request<String>| async move {
        let kind = request.uri().path().to_owned();
        let mut number = 0;
        let frames = Made(move || {
            number += 1;
            match (kind.as_str(), number) {
                (_, 1) => Some(Ok(http_body::Frame::data(Bytes::from("x")))),
                ("/error", _) => Some(Err(std::io::Error::from(std::io::ErrorKind::NotConnected))),
                ("/panic", _) => panic!("as told"),
                _ => None,
            }
        });
        Ok::<_, Infallible>(Response::new(frames))
    });
    let service = layer.layer(api);
    for path in ["/end", "/error", "/panic", "/drop", "/end"] {
        let request = Request::get(path).body(String::new()).unwrap();
        let mut body = service.clone().oneshot(request).await.unwrap().into_body();
        assert_eq!(handle.snapshot().in_flight, 1);
        body.frame().await.unwrap().unwrap();
        assert_eq!(handle.snapshot().in_flight, 1, "{path}");
        if path == "/drop" {
            drop(body);
        } else {
            let next = catch_unwind(AssertUnwindSafe(|| {
                let mut frame = pin!(body.frame());
                let polled = frame.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                assert!(polled.is_ready());
            }));
            assert_eq!(next.is_err(), path == "/panic");
            drop((path == "/panic").then_some(body));
        }
        assert_eq!(handle.snapshot().in_flight, 0, "{path}");
    }
}

/// A body of the frames that a function makes.
struct Made<F>(F);

impl<F: FnMut() -> Option<std::io::Result<http_body::Frame<Bytes>>> + Unpin> http_body::Body
    for Made<F>
{
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<std::io::Result<http_body::Frame<Bytes>>>> {
        Poll::Ready((self.0)())
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_keys_takes_bounded_memory() {
    let layer = RateLimitLayer::new(Quota::per_second(1000).burst(2))
        .scope(Keyed::by(ByAuthority).max_keys(1000));
    let mut service =
        layer.layer(service_fn(|_: Request<String>| std::future::ready(Ok::<_, Infallible>(()))));
    let mut dice = Dice(5);
    for _ in 0..100_000 {
        let host = format!("h{}", dice.roll(u64::MAX));
        drop(service.call(get(&host)));
    }
    assert!(layer.limiters().len() <= 1000);
    assert!(layer.limiters().overflowed() < 100_000);
}

// by default, and without `share_buckets`: one host of many says "429, global", and nothing
// goes to any other host, for five minutes each time that it is asked.
#[tokio::test(start_paused = true)]
async fn one_host_pauses_no_other_host() {
    let layer = unlimited().keyed(ByAuthority).learn(Feedback::standard());
    let service = layer.layer(service_fn(|request: Request<String>| async move {
        let evil = [("x-ratelimit-global", "true"), ("retry-after", "86400")];
        Ok::<_, Infallible>(match request.uri().host() {
            Some("evil.example") => answer(429, &evil),
            _ => answer(200, &[]),
        })
    }));
    service.clone().oneshot(get("evil.example")).await.unwrap();
    let start = Instant::now();
    service.clone().oneshot(get("good.example")).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

// buckets of one name are one, whoever names them: a host that names GitHub's bucket holds
// up what goes to GitHub.
#[tokio::test(start_paused = true)]
async fn one_host_names_no_bucket_of_another_host() {
    let layer = unlimited().keyed(ByAuthority).learn(Feedback::standard().share_buckets());
    let service = layer.layer(service_fn(|request: Request<String>| async move {
        let bucket = ("x-ratelimit-resource", "core");
        Ok::<_, Infallible>(match request.uri().host() {
            Some("evil.example") => answer(429, &[bucket, ("retry-after", "86400")]),
            _ => answer(200, &[bucket]),
        })
    }));
    service.clone().oneshot(get("api.github.com")).await.unwrap();
    service.clone().oneshot(get("evil.example")).await.unwrap();
    let start = Instant::now();
    service.clone().oneshot(get("api.github.com")).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

// what is in flight since before a window began was counted by the server then, and is
// taken off what is left of each window since: with as many long polls as the quota has, one
// request goes in each window.
#[tokio::test(start_paused = true)]
async fn long_polls_take_nothing_off_later_windows() {
    let start = Instant::now();
    let used = Arc::new(Mutex::new((0, 0)));
    let service = unlimited().learn(Feedback::standard()).layer(service_fn(
        move |request: Request<String>| {
            // 60 in each minute.
            let (minute, left) =
                (start.elapsed().as_secs() / 60, 60 - start.elapsed().as_secs() % 60);
            let mut used = used.lock().unwrap();
            *used = if used.0 == minute { (minute, used.1 + 1) } else { (minute, 1) };
            let remaining = 60_u64.saturating_sub(used.1).to_string();
            let response = answer(
                200,
                &[("x-ratelimit-remaining", &remaining), ("x-ratelimit-reset", &left.to_string())],
            );
            let polls = request.uri().host() == Some("poll");
            async move {
                if polls {
                    sleep(HOUR).await;
                }
                Ok::<_, Infallible>(response)
            }
        },
    ));
    let mut polls = JoinSet::new();
    (0..60).for_each(|_| drop(polls.spawn(service.clone().oneshot(get("poll")))));
    sleep(SECOND * 125).await;
    let start = Instant::now();
    for _ in 0..20 {
        service.clone().oneshot(get("a")).await.unwrap();
    }
    assert!(start.elapsed() < SECOND * 10, "{:?}", start.elapsed());
}

// the permit, or the tokens, of one whose inner service panics in `poll_ready` are kept for
// as long as its future is.
#[tokio::test(start_paused = true)]
async fn an_inner_service_that_panics_as_it_gets_ready_keeps_no_permit() {
    #[derive(Clone)]
    struct Panics(Arc<AtomicBool>);
    impl Service<Request<String>> for Panics {
        type Response = Response<String>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response<String>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            assert!(!self.0.load(Ordering::Relaxed), "as told");
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<String>) -> Self::Future {
            std::future::ready(Ok(Response::new(String::new())))
        }
    }
    let panics = Arc::new(AtomicBool::new(false));
    let layer = palisade_rate_limit::ConcurrencyLimitLayer::new(1);
    let handle = layer.handle();
    let mut service = layer.layer(Panics(Arc::clone(&panics)));
    let held = handle.try_acquire().unwrap();
    let mut call = Box::pin(service.ready().await.unwrap().call(get("a")));
    let mut poll = || call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll().is_pending());
    drop(held);
    panics.store(true, Ordering::Relaxed);
    assert!(catch_unwind(AssertUnwindSafe(&mut poll)).is_err());
    assert_eq!(handle.snapshot().in_flight, 0);
}

fn fields(fields: &[(&'static str, &str)]) -> http::HeaderMap {
    answer(200, fields).headers().clone()
}

fn allowances(headers: &http::HeaderMap) -> palisade_fields::Allowances<'_> {
    let now = || std::time::UNIX_EPOCH + SECOND * 1_800_000_000;
    palisade_fields::Allowances::of(headers, now)
}

// a field without a value is a name, and so all keys whose answers have it are one bucket.
#[test]
fn a_bucket_without_a_name_is_none() {
    let headers = fields(&[("x-ratelimit-bucket", ""), ("x-ratelimit-remaining", "1")]);
    assert_eq!(allowances(&headers).bucket(), None);
}

// the four places are taken by items that say nothing, which are then thrown away.
#[test]
fn items_that_say_nothing_take_no_place() {
    let headers = fields(&[("ratelimit", "a, b, c, d, e;r=0;t=60")]);
    assert!(!allowances(&headers).is_empty(), "one of them says something");
}

// the fifth quota is not looked at, though it is the one that is spent. (As documented; but
// what is spent matters more than what is not.)
#[test]
fn what_is_spent_is_not_passed_over() {
    let headers =
        fields(&[("ratelimit", "a;r=9;t=1, b;r=9;t=1, c;r=9;t=1, d;r=9;t=1, e;r=0;t=60")]);
    assert!(allowances(&headers).iter().any(|quota| quota.remaining == Some(0)));
}

// microseconds since 1970 are taken for milliseconds, and are 57,000 years.
#[test]
fn a_time_in_microseconds_is_not_in_the_far_future() {
    let headers =
        fields(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1800000060000000")]);
    let reset = allowances(&headers).iter().next().unwrap().reset.unwrap();
    assert!(reset < HOUR, "{reset:?}");
}

#[test]
fn thousands_of_values_are_read_in_no_time() {
    let mut headers = http::HeaderMap::new();
    let long = (0..2000)
        .map(|n| format!(r#""q\\{n}";r={n};t=5;pk=:aGVsbG8=:;x"#))
        .collect::<Vec<_>>()
        .join(", ");
    for number in 0..2000 {
        for (name, value) in [
            ("ratelimit", format!("\"{number}\";r=1;t=2")),
            ("ratelimit-policy", format!("\"{number}\";q=1;w=2")),
            ("x-ratelimit-reset", "9".repeat(200)),
            ("x-ratelimit-remaining", "-".repeat(200)),
            ("retry-after", "1,".repeat(200)),
        ] {
            headers.append(name, value.parse().unwrap());
        }
    }
    headers.append("ratelimit", long.parse().unwrap());
    let start = std::time::Instant::now();
    let found = allowances(&headers);
    assert_eq!(found.iter().count(), 4);
    assert!(start.elapsed() < SECOND * 2, "{:?}", start.elapsed());
}

//! Attempts to break it.

use std::{
    convert::Infallible,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use http::{Request, Response};
use palisade_core::ByAuthority;
use palisade_rate_limit::{
    Acquire, Keyed, Limited, LimitedReason, Limiter, OverBurst, Quota, RateLimitLayer, Wait,
};
use tokio::{
    runtime::Handle,
    task::JoinSet,
    time::{Instant, advance, sleep, timeout},
};
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimitLayer, service_fn};

const TICK: Duration = Duration::from_millis(10);
const SECOND: Duration = Duration::from_secs(1);

fn limiter(burst: u32) -> Limiter {
    Limiter::new(Quota::per_second(100).burst(burst)).wait(Wait::forever())
}

/// A limiter whose tokens are all taken.
fn empty(limiter: Limiter) -> Limiter {
    limiter.try_acquire(limiter.snapshot().available).unwrap();
    limiter
}

fn poll(acquire: &mut Acquire) -> Poll<Result<(), Limited>> {
    Pin::new(acquire).poll(&mut Context::from_waker(Waker::noop()))
}

fn waiting(limiter: &Limiter) -> Acquire {
    let mut acquire = limiter.acquire(1);
    assert!(poll(&mut acquire).is_pending());
    acquire
}

fn api()
-> impl Service<Request<String>, Response = Response<String>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    service_fn(|_: Request<String>| async { Ok(Response::new(String::new())) })
}

#[tokio::test(start_paused = true)]
async fn one_caller_gets_through_an_inner_service_with_one_place() {
    let mut service =
        RateLimitLayer::new(Quota::every(TICK)).layer(ConcurrencyLimitLayer::new(1).layer(api()));
    for _ in 0..3 {
        let call = service.ready().await.unwrap().call(Request::default());
        timeout(SECOND, call).await.expect("it waits for a place that it holds itself").unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn no_window_sees_more_than_a_strict_quota_of_short_intervals() {
    for (count, burst) in [(150, 1), (240, 41), (400, 1)] {
        let limiter =
            Limiter::new(Quota::at_most(count, SECOND).burst(burst)).wait(Wait::forever());
        let limiter = limiter.wait(Wait::forever().max_waiting(usize::MAX));
        let start = Instant::now();
        let mut let_go = Vec::new();
        // The first one is late, by as much as it may; the others are on time.
        let mut line: Vec<_> = (0..burst).map(|_| limiter.acquire(1)).collect();
        line.extend((0..count + 10).map(|_| limiter.acquire(1)));
        let mut line = line.into_iter();
        for _ in 0..burst {
            line.next().unwrap().await.unwrap();
            let_go.push(start.elapsed());
        }
        let mut line: Vec<_> = line.collect();
        assert!(line.iter_mut().all(|acquire| poll(acquire).is_pending()));
        advance(Duration::from_millis(15)).await;
        let mut line = line.into_iter().peekable();
        while let Some(first) = line.peek_mut() {
            if poll(first).is_ready() {
                let_go.push(start.elapsed());
                line.next();
            } else {
                advance(Duration::from_micros(10)).await;
            }
        }
        for (index, begin) in let_go.iter().enumerate() {
            let within = let_go[index..].iter().filter(|at| **at < *begin + SECOND).count();
            assert!(within <= count as usize, "{within} of {count} from {begin:?}, burst {burst}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_sent_away_takes_no_place() {
    let limiter = empty(limiter(1)).wait(Wait::up_to(TICK * 3).max_waiting(2));
    let limiter = empty(limiter);
    let sent = [waiting(&limiter), waiting(&limiter)];
    assert_eq!((limiter.shed(), limiter.snapshot().waiting), (2, 0));
    assert_eq!(limiter.shed(), 0, "they are told once");
    // They were told, and have not looked yet.
    let start = Instant::now();
    let [mut third, fourth] = [waiting(&limiter), waiting(&limiter)];
    assert_eq!(limiter.snapshot().waiting, 2);
    timeout(SECOND, poll_fn(|cx| Pin::new(&mut third).poll(cx))).await.unwrap().unwrap();
    assert_eq!(start.elapsed(), TICK);
    for mut sent in sent {
        let Poll::Ready(Err(limited)) = poll(&mut sent) else { panic!("it was sent away") };
        assert_eq!(limited.reason(), LimitedReason::Shed);
    }
    fourth.await.unwrap();
    assert_eq!((start.elapsed(), limiter.snapshot().waiting), (TICK * 2, 0));
}

#[tokio::test(start_paused = true)]
async fn shedding_gets_a_forgotten_one_out_of_the_way() {
    let limiter = empty(limiter(1));
    std::mem::forget(waiting(&limiter));
    let other = waiting(&limiter);
    limiter.shed();
    drop(other);
    advance(TICK).await;
    limiter.try_acquire(1).unwrap();
    timeout(SECOND, limiter.acquire(1)).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_may_go_into_debt_is_refused_at_once_if_it_takes_too_long() {
    let limiter =
        Limiter::new(Quota::every(TICK)).over_burst(OverBurst::Debt).wait(Wait::up_to(TICK * 5));
    let limiter = empty(limiter);
    let mut first = limiter.acquire(4);
    assert!(poll(&mut first).is_pending());
    // Due after a tick, and what it takes lasts for four.
    let second = waiting(&limiter);
    let limited = timeout(Duration::ZERO, limiter.acquire(1)).await.unwrap().unwrap_err();
    assert_eq!((limited.reason(), limited.retry_after()), (LimitedReason::TooLong, Some(TICK * 6)));
    let start = Instant::now();
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(start.elapsed(), TICK * 5);
}

#[tokio::test(start_paused = true)]
async fn what_never_may_go_is_told_so_at_once() {
    let limiter = empty(limiter(5));
    let _first = waiting(&limiter);
    let refused = timeout(SECOND, limiter.acquire(u32::MAX)).await.unwrap();
    let refused = [refused, limiter.try_acquire(6)];
    let over_burst = Err((LimitedReason::OverBurst, None));
    let refused =
        refused.map(|result| result.map_err(|limited| (limited.reason(), limited.retry_after())));
    assert_eq!(refused, [over_burst; 2]);
    drop(_first);
    limiter.pause(SECOND);
    let refused = limiter.try_acquire(6).unwrap_err();
    assert_eq!(refused.reason(), LimitedReason::OverBurst);
}

#[tokio::test(start_paused = true)]
async fn what_one_took_for_a_moment_holds_nobody_up() {
    let handle = Handle::current();
    for _ in 0..50 {
        // The first one has a token left for an hour; the second has one each 10 ms.
        // Many between them, so that a thread that tries holds the first for long.
        let limiter = Limiter::new(Quota::per_hour(1).burst(2)).wait(Wait::forever());
        let between = Quota::per_second(1000).burst(1000);
        let limiter = (0..100).fold(limiter, |limiter, _| limiter.and(between));
        let limiter = limiter.and(Quota::every(TICK));
        limiter.try_acquire(1).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let start = Instant::now();
        let thread = || {
            let (limiter, stop, handle) = (limiter.clone(), Arc::clone(&stop), handle.clone());
            std::thread::spawn(move || {
                let _guard = handle.enter();
                while !stop.load(Ordering::Relaxed) {
                    let _ = limiter.try_acquire(1);
                }
            })
        };
        let threads = [thread(), thread()];
        std::thread::yield_now();
        let waits = tokio::spawn(limiter.acquire(1));
        tokio::task::yield_now().await;
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        // Nobody else is there, and there is a token after a tick.
        waits.await.unwrap().unwrap();
        assert_eq!(start.elapsed(), TICK);
    }
}

#[test]
fn a_quota_may_change_from_another_thread_at_any_time() {
    let limiter = Limiter::new(Quota::UNLIMITED).wait(Wait::reject());
    let stop = AtomicBool::new(false);
    let panicked = std::thread::scope(|scope| {
        let takers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let _ = limiter.try_acquire(1);
                    }
                })
            })
            .collect();
        let quotas = [Quota::UNLIMITED, Quota::per_hour(1), Quota::per_second(1_000_000)];
        for turn in 0..100_000 {
            limiter.retune(&[quotas[turn % 3]]).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        takers.into_iter().any(|taker| taker.join().is_err())
    });
    assert!(!panicked);
}

/// A task that is kept alive by its wakers alone, and waits itself.
struct Task {
    _waits: Mutex<Option<Acquire>>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

#[tokio::test(start_paused = true)]
async fn a_waker_that_takes_its_task_along_dead_locks_nobody() {
    let limiter = empty(limiter(1));
    let task = |acquire| Waker::from(Arc::new(Task { _waits: Mutex::new(Some(acquire)) }));
    let (done, is_done) = std::sync::mpsc::channel();
    let thread = {
        let handle = Handle::current();
        move || {
            let _guard = handle.enter();
            // Polled by one task, then by another one, while the first one is gone.
            let mut moved = limiter.acquire(1);
            let first = waiting(&limiter);
            let one = task(waiting(&limiter));
            assert!(Pin::new(&mut moved).poll(&mut Context::from_waker(&one)).is_pending());
            drop(one);
            assert!(poll(&mut moved).is_pending());
            // Dropped, with a waker that is the last one of its task.
            let one = task(waiting(&limiter));
            assert!(Pin::new(&mut moved).poll(&mut Context::from_waker(&one)).is_pending());
            drop(one);
            drop(moved);
            drop(first);
            done.send(limiter.snapshot().waiting).unwrap();
        }
    };
    std::thread::spawn(thread);
    assert_eq!(is_done.recv_timeout(Duration::from_secs(5)), Ok(0));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_holds_wherever_one_stands() {
    let limiter = empty(limiter(1));
    let start = Instant::now();
    let _first = waiting(&limiter);
    let second = limiter.acquire_before(1, start + TICK * 5);
    let second = tokio::spawn(timeout(TICK * 20, second));
    sleep(TICK / 2).await;
    limiter.pause(SECOND);
    assert!(second.await.unwrap().unwrap().is_err());
    assert!(start.elapsed() <= TICK * 6, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_comes_after_its_deadline_takes_nothing() {
    let limiter = limiter(1);
    let deadline = Instant::now();
    advance(TICK).await;
    let limited = limiter.acquire_before(1, deadline).await.unwrap_err();
    assert_eq!(limited.reason(), LimitedReason::TooLong);
    limiter.acquire_before(1, Instant::now()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_retuned_is_not_forgotten() {
    let layer = RateLimitLayer::new(Quota::per_second(100).burst(10))
        .wait(Wait::reject())
        .scope(Keyed::by(ByAuthority).max_keys(100));
    let service = layer.layer(api());
    let get = |host: &str| Request::get(format!("http://{host}/")).body(String::new()).unwrap();
    service.clone().oneshot(get("slow.example")).await.unwrap();
    let slow = Some("slow.example".to_owned());
    layer.limiters().get(&slow).unwrap().retune(&[Quota::per_hour(1)]).unwrap();
    for host in 0..1000 {
        sleep(SECOND).await;
        service.clone().oneshot(get(&format!("host-{host}.example"))).await.unwrap();
    }
    sleep(SECOND * 3600).await;
    service.clone().oneshot(get("slow.example")).await.unwrap();
    assert!(service.oneshot(get("slow.example")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_panics_was_made() {
    let layer = RateLimitLayer::new(Quota::every(TICK));
    let handle = layer.handle();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let service = layer.layer(service_fn(move |_: Request<String>| {
        if count.fetch_add(1, Ordering::Relaxed) == 1 {
            panic!("the inner service is broken");
        }
        async { Ok::<_, Infallible>(Response::new(String::new())) }
    }));
    service.clone().oneshot(Request::default()).await.unwrap();
    let mut second = Box::pin(service.clone().oneshot(Request::default()));
    let poll =
        |cx: &mut Context<'_>| match catch_unwind(AssertUnwindSafe(|| second.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(_)) => panic!("it panics"),
            Err(_) => Poll::Ready(()),
        };
    poll_fn(poll).await;
    drop(second);
    assert_eq!((calls.load(Ordering::Relaxed), handle.snapshot().available), (2, 0));
    let start = Instant::now();
    service.oneshot(Request::default()).await.unwrap();
    assert_eq!(start.elapsed(), TICK);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_woken_in_vain_through_the_layer() {
    for waiters in [64, 1000] {
        let wait = Wait::forever().max_waiting(usize::MAX);
        let service = RateLimitLayer::new(Quota::every(TICK)).wait(wait).layer(api());
        let polls = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..waiters {
            let mut call = Box::pin(service.clone().oneshot(Request::default()));
            let polls = Arc::clone(&polls);
            tasks.spawn(poll_fn(move |cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                call.as_mut().poll(cx).map(|result| result.is_ok())
            }));
        }
        assert!(tasks.join_all().await.into_iter().all(|ok| ok));
        let polls = polls.load(Ordering::Relaxed);
        assert!(polls as f64 <= 3.2 * f64::from(waiters), "{polls} polls of {waiters}");
    }
}

/// Its first instance is ready, and its clones fail to be.
struct Broken(bool);

impl Clone for Broken {
    fn clone(&self) -> Self {
        Self(true)
    }
}

impl Service<Request<String>> for Broken {
    type Response = Response<String>;
    type Error = std::io::Error;
    type Future = std::future::Ready<Result<Response<String>, std::io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        Poll::Ready(if self.0 { Err(std::io::ErrorKind::NotConnected.into()) } else { Ok(()) })
    }

    fn call(&mut self, _: Request<String>) -> Self::Future {
        std::future::ready(Ok(Response::new(String::new())))
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_go_back_as_soon_as_the_inner_service_fails_to_be_ready() {
    let layer = RateLimitLayer::new(Quota::every(TICK));
    let handle = layer.handle();
    let mut service = layer.layer(Broken(false));
    service.ready().await.unwrap().call(Request::default()).await.unwrap();
    let mut second = Box::pin(service.call(Request::default()));
    assert!(second.as_mut().await.is_err());
    // It is still held.
    assert_eq!(handle.snapshot().available, 1);
}

#[test]
fn threads_that_come_and_go_stall_nobody_and_exceed_nothing() {
    // Real time, as the threads are.
    let strict = Quota::at_most(200, SECOND / 10).burst(20);
    let limiter = Limiter::new(strict).and(Quota::per_second(1500).burst(30)).wait(Wait::forever());
    let begin = std::time::Instant::now();
    let let_go = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..8_u32 {
            let (limiter, let_go) = (limiter.clone(), &let_go);
            scope.spawn(move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    for turn in 0..120_u32 {
                        match (thread + turn) % 8 {
                            0 => {
                                let mut acquire = limiter.acquire(1);
                                // What it got is not used.
                                if poll(&mut acquire).is_ready() {
                                    limiter.refund(1);
                                }
                            }
                            1 => drop(limiter.try_acquire(1).map(|()| limiter.refund(1))),
                            2 if turn % 16 == 0 => {
                                limiter.pause(Duration::from_millis(1));
                                limiter.resume();
                            }
                            3 => {
                                let wait = timeout(Duration::from_millis(2), limiter.acquire(3));
                                if let Ok(Ok(())) = wait.await {
                                    let now = begin.elapsed();
                                    let_go.lock().unwrap().extend([now; 3]);
                                }
                            }
                            _ => {
                                let waited = timeout(SECOND * 20, limiter.acquire(1)).await;
                                waited.expect("nobody stalls").unwrap();
                                let_go.lock().unwrap().push(begin.elapsed());
                            }
                        }
                    }
                });
            });
        }
    });
    assert_eq!(limiter.snapshot().waiting, 0);
    let (all, took) = (let_go.lock().unwrap().len() as f64, begin.elapsed().as_secs_f64());
    assert!(all <= 1500.0 * took + 30.0, "{all} in {took} s");
}

#[tokio::test(start_paused = true)]
async fn waiters_in_one_task_go_in_turn() {
    let limiter = empty(limiter(1));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..4 {
        let limiter = limiter.clone();
        tasks.spawn(async move {
            // Polled by hand, spuriously and in reverse, with a waker that changes once.
            let mut acquires: Vec<_> = (0..16).map(|_| limiter.acquire(1)).collect();
            for acquire in &mut acquires {
                assert!(poll(acquire).is_pending());
            }
            let mut left = 16;
            let mut done = [false; 16];
            poll_fn(|cx| {
                for (index, acquire) in acquires.iter_mut().enumerate().rev() {
                    if !done[index] && Pin::new(acquire).poll(cx).is_ready() {
                        (done[index], left) = (true, left - 1);
                        assert!(done[..index].iter().all(|done| *done), "jumped the line");
                    }
                }
                if left == 0 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            task
        });
    }
    tasks.join_all().await;
    assert_eq!(start.elapsed(), TICK * 64);
}

#[tokio::test(start_paused = true)]
async fn numbers_at_their_ends_are_no_harm() {
    let day = Duration::from_secs(86_400);
    let limiter = Limiter::new(Quota::every(day * 36_500)).wait(Wait::forever());
    limiter.try_acquire(1).unwrap();
    for _ in 0..3 {
        limiter.charge(u32::MAX);
    }
    let mut far = limiter.acquire_before(1, Instant::now() + day * 365 * 20_000);
    let _ = poll(&mut far);
    assert!(limiter.try_acquire(0).is_err());
    limiter.pause(Duration::MAX);
    let mut zero = limiter.acquire(0);
    assert!(poll(&mut zero).is_pending());
    limiter.refund(u32::MAX);
    limiter.refund(u32::MAX);
    limiter.resume();
    drop(far);
    zero.await.unwrap();
    limiter.try_acquire(1).unwrap();
    let short = Limiter::new(Quota::every(TICK)).wait(Wait::up_to(Duration::from_nanos(1)));
    short.acquire(1).await.unwrap();
    assert_eq!(short.acquire(1).await.unwrap_err().reason(), LimitedReason::TooLong);
    for quota in [Quota::at_most(1, day * 36_500), Quota::per_second(u32::MAX).burst(u32::MAX)] {
        let limiter = Limiter::new(quota).wait(Wait::reject());
        limiter.try_acquire(quota.most()).unwrap();
        limiter.charge(u32::MAX);
        limiter.retune(&[Quota::per_second(u32::MAX)]).unwrap();
        limiter.retune(&[quota]).unwrap();
        limiter.refund(u32::MAX);
        let _ = limiter.snapshot();
    }
}

#[tokio::test(start_paused = true)]
async fn a_granted_call_and_a_line_that_is_dropped_whole_leave_nothing() {
    let wait = Wait::forever().max_waiting(usize::MAX);
    let layer = RateLimitLayer::new(Quota::every(TICK)).wait(wait);
    let handle = layer.handle();
    let service = layer.layer(api());
    service.clone().oneshot(Request::default()).await.unwrap();
    let mut calls: Vec<_> = (0..100)
        .map(|_| {
            let mut service = service.clone();
            Box::pin(async move { service.ready().await.unwrap().call(Request::default()).await })
        })
        .collect();
    for call in &mut calls {
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    // Never polled, and dropped again, between those that wait.
    drop(service.clone().call(Request::default()));
    for index in [0, 50, 97] {
        drop(calls.remove(index));
    }
    assert_eq!(handle.snapshot().waiting, 97);
    calls.remove(0).await.unwrap();
    drop(calls);
    assert_eq!(handle.snapshot().waiting, 0);
    sleep(TICK).await;
    assert_eq!(handle.snapshot().available, 1);
}

#[tokio::test(start_paused = true)]
async fn keeps_the_contract_while_all_have_to_wait() {
    let layer = || RateLimitLayer::new(Quota::every(TICK)).wait(Wait::forever());
    // The box of one that waits, its timer, and its place in line.
    palisade_testkit::contract!(layer()).allocations(3).check().await;
    // And what the first one of a key makes: its limiter, the target of that, its authority, its key.
    palisade_testkit::contract!(layer().keyed(ByAuthority)).allocations(7).check().await;
}

#[tokio::test(start_paused = true)]
async fn a_limiter_in_use_is_not_evicted() {
    let layer = RateLimitLayer::new(Quota::every(SECOND)).scope(Keyed::by(ByAuthority).max_keys(1));
    let service = layer.layer(api());
    let get = |host: &str| Request::get(format!("http://{host}/")).body(String::new()).unwrap();
    service.clone().oneshot(get("a.example")).await.unwrap();
    let waits = tokio::spawn(service.clone().oneshot(get("a.example")));
    tokio::task::yield_now().await;
    let held = layer.limiters().get(&Some("a.example".to_owned())).unwrap();
    assert_eq!(held.snapshot().waiting, 1);
    // It goes by the limiter of all others.
    service.clone().oneshot(get("b.example")).await.unwrap();
    assert!(waits.await.unwrap().is_ok());
    sleep(SECOND * 10).await;
    service.clone().oneshot(get("b.example")).await.unwrap();
    assert!(layer.limiters().get(&Some("a.example".to_owned())).is_some());
    assert_eq!(layer.limiters().overflowed(), 2);
    drop(held);
    sleep(SECOND * 10).await;
    for _ in 0..3 {
        service.clone().oneshot(get("b.example")).await.unwrap();
    }
    assert!(layer.limiters().get(&Some("b.example".to_owned())).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_permitted_call_and_a_refusal_allocate_nothing() {
    let layer = RateLimitLayer::new(Quota::per_second(10).burst(4)).and(Quota::per_hour(1000));
    let mut service = layer.wait(Wait::reject()).layer(api());
    let requests: Vec<_> = (0..8).map(|_| Request::default()).collect();
    service.ready().await.unwrap();
    let mut calls = Vec::with_capacity(8);
    let counted = allocation_counter::measure(|| {
        for request in requests {
            calls.push(service.call(request));
        }
    });
    assert_eq!(counted.count_total, 0);
}

#[tokio::test(start_paused = true)]
async fn functions_that_panic_break_nothing_for_others() {
    let boom = Arc::new(AtomicUsize::new(0));
    let fails = |at: usize| {
        let boom = Arc::clone(&boom);
        move || assert_ne!(boom.load(Ordering::Relaxed), at, "as told")
    };
    let (cost, key, quota) = (fails(1), fails(2), fails(3));
    let keyed = Keyed::by(palisade_core::key_fn(move |head: palisade_core::Head<'_>| {
        key();
        head.uri.path().len()
    }));
    let layer = RateLimitLayer::new(Quota::every(TICK))
        .cost(palisade_rate_limit::cost_fn(move |_: &Request<String>| {
            cost();
            1
        }))
        .scope(keyed.quota_fn(move |_: &usize| {
            quota();
            None
        }));
    let service = layer.layer(api());
    let get = |path: &str| Request::get(path).body(String::new()).unwrap();
    for at in 1..4 {
        boom.store(at, Ordering::Relaxed);
        let mut service = service.clone();
        let path = "/".repeat(at);
        let call = catch_unwind(AssertUnwindSafe(|| drop(service.call(get(&path)))));
        assert!(call.is_err(), "{at}");
        boom.store(0, Ordering::Relaxed);
        service.oneshot(get(&path)).await.unwrap();
    }
    let start = Instant::now();
    service.oneshot(get("/")).await.unwrap();
    assert_eq!((start.elapsed(), layer.limiters().len()), (TICK, 3));
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_was_lifted_holds_nobody_up() {
    let hour = SECOND * 3600;
    let limiter =
        Limiter::new(Quota::every(hour)).and(Quota::every(TICK)).wait(Wait::up_to(SECOND));
    limiter.try_acquire(1).unwrap();
    assert!(limiter.acquire(1).await.is_err());
    limiter.retune(&[Quota::UNLIMITED, Quota::every(TICK)]).unwrap();
    assert_eq!(limiter.try_acquire(1).unwrap_err().retry_after(), Some(TICK));
    let start = Instant::now();
    limiter.acquire(1).await.unwrap();
    assert_eq!(start.elapsed(), TICK);
    limiter.retune(&[Quota::UNLIMITED; 2]).unwrap();
    assert_eq!(limiter.snapshot().available, u32::MAX);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_one_quota_is_not_mistaken_for_one_by_another() {
    let handle = Handle::current();
    // A token left for an hour, and one each 10 ms; many quotas between them, as above.
    let limiter = Limiter::new(Quota::per_hour(1).burst(2)).wait(Wait::up_to(SECOND));
    let between = Quota::per_second(1000).burst(1000);
    let limiter = (0..100).fold(limiter, |limiter, _| limiter.and(between));
    let limiter = limiter.and(Quota::every(TICK));
    limiter.try_acquire(1).unwrap();
    let misled: usize = std::thread::scope(|scope| {
        let thread = || {
            let _guard = handle.enter();
            let tries = (0..2000).map(|_| limiter.try_acquire(1).unwrap_err().retry_after());
            tries.filter(|after| *after != Some(TICK)).count()
        };
        let threads = [scope.spawn(thread), scope.spawn(thread)];
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(misled, 0);
}

#[test]
fn whoever_waits_hears_of_every_change_from_other_threads() {
    // So slow that only a change, or another one's leaving, lets anybody go.
    let slow = Quota::per_hour(1);
    let limiter = Limiter::new(slow).and(Quota::per_second(1_000_000)).wait(Wait::forever());
    limiter.try_acquire(1).unwrap();
    let (left, stop) = (AtomicUsize::new(6), AtomicBool::new(false));
    let counts: Vec<(u32, u32)> = std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..6_u32)
            .map(|thread| {
                let (limiter, left) = (limiter.clone(), &left);
                scope.spawn(move || {
                    let runtime =
                        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    let mut counts = (0, 0);
                    runtime.block_on(async {
                        for turn in 0..400 {
                            let wait = SECOND * 20;
                            // Some leave by themselves.
                            if (thread + turn) % 5 == 0 {
                                let _ = timeout(Duration::ZERO, limiter.acquire(1)).await;
                                continue;
                            }
                            match timeout(wait, limiter.acquire(1)).await.expect("it stalls") {
                                Ok(()) => counts.0 += 1,
                                Err(limited) => {
                                    assert_eq!(limited.reason(), LimitedReason::Shed);
                                    counts.1 += 1;
                                }
                            }
                        }
                    });
                    left.fetch_sub(1, Ordering::Relaxed);
                    counts
                })
            })
            .collect();
        scope.spawn(|| {
            let mut turn = 0_u64;
            while left.load(Ordering::Relaxed) != 0 && !stop.load(Ordering::Relaxed) {
                turn += 1;
                match turn % 8 {
                    0 => drop(limiter.shed()),
                    1 => limiter.pause(SECOND * 1000),
                    2 => limiter.resume(),
                    3 => limiter.retune(&[slow, Quota::UNLIMITED]).unwrap(),
                    4 => limiter.retune(&[slow, Quota::per_second(1_000_000)]).unwrap(),
                    _ => limiter.refund(1),
                }
                std::thread::yield_now();
            }
        });
        let counts = waiters.into_iter().map(|waiter| waiter.join());
        let counts = counts.collect::<Vec<_>>();
        stop.store(true, Ordering::Relaxed);
        counts.into_iter().map(Result::unwrap).collect()
    });
    assert_eq!(limiter.snapshot().waiting, 0);
    assert!(counts.iter().all(|(granted, shed)| granted + shed == 320), "{counts:?}");
}

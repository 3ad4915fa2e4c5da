//! A limiter by itself.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use palisade_rate_limit::{Acquire, Limited, LimitedReason, Limiter, OverBurst, Quota, Wait};
use tokio::{
    task::JoinSet,
    time::{Instant, advance, sleep, timeout},
};

const TICK: Duration = Duration::from_millis(10);

/// One each 10 ms, and so many at once.
fn limiter(burst: u32) -> Limiter {
    Limiter::new(Quota::per_second(100).burst(burst)).wait(Wait::forever())
}

fn poll(acquire: &mut Acquire) -> Poll<Result<(), Limited>> {
    Pin::new(acquire).poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn who_comes_first_goes_first_and_in_time() {
    let limiter = limiter(1);
    limiter.try_acquire(1).unwrap();
    let gone = Arc::new(Mutex::new(Vec::new()));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..64_u32 {
        let (limiter, gone) = (limiter.clone(), Arc::clone(&gone));
        tasks.spawn(async move {
            for turn in 0..5 {
                limiter.acquire(1).await.unwrap();
                gone.lock().unwrap().push((task, turn, start.elapsed()));
            }
        });
    }
    tasks.join_all().await;
    let gone = gone.lock().unwrap();
    for (index, (task, turn, at)) in gone.iter().enumerate() {
        let index = index as u32;
        assert_eq!((*task, *turn), (index % 64, index / 64));
        assert_eq!(*at, TICK * (index + 1));
    }
}

#[tokio::test(start_paused = true)]
async fn weights_are_served_in_turn() {
    let limiter = limiter(5);
    limiter.try_acquire(5).unwrap();
    let mut tasks = JoinSet::new();
    for task in 0..20 {
        let limiter = limiter.clone();
        tasks.spawn(async move {
            let cost = if task % 2 == 0 { 1 } else { 5 };
            let mut served = 0;
            let _ = timeout(Duration::from_secs(6), async {
                loop {
                    limiter.acquire(cost).await.unwrap();
                    served += 1;
                }
            })
            .await;
            served
        });
    }
    let served = tasks.join_all().await;
    // 600 tokens, 60 for each round of all.
    assert!(served.iter().all(|served| (10..=11).contains(served)), "{served:?}");
}

#[tokio::test(start_paused = true)]
async fn who_leaves_costs_nothing() {
    for leaver in [0, 3, 7] {
        let limiter = limiter(1);
        limiter.try_acquire(1).unwrap();
        let mut waiting: Vec<_> = (0..8).map(|_| limiter.acquire(1)).collect();
        assert!(waiting.iter_mut().all(|acquire| poll(acquire).is_pending()));
        assert_eq!(limiter.snapshot().waiting, 8);
        drop(waiting.remove(leaver));
        assert_eq!(limiter.snapshot().waiting, 7);
        let start = Instant::now();
        for (index, acquire) in waiting.into_iter().enumerate() {
            acquire.await.unwrap();
            assert_eq!(start.elapsed(), TICK * (index as u32 + 1));
        }
        assert_eq!(limiter.snapshot().waiting, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_that_leave_take_nothing_along() {
    let limiter = limiter(1).wait(Wait::forever().max_waiting(usize::MAX));
    limiter.try_acquire(1).unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..1000 {
        let limiter = limiter.clone();
        tasks.spawn(async move { timeout(TICK / 2, limiter.acquire(1)).await.is_err() });
    }
    assert!(tasks.join_all().await.into_iter().all(|late| late));
    advance(TICK).await;
    assert_eq!(limiter.snapshot().waiting, 0);
    assert_eq!(limiter.try_acquire(1), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_woken_in_vain() {
    for waiters in [1, 64, 1000] {
        let limiter = limiter(1).wait(Wait::forever().max_waiting(usize::MAX));
        let polls = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..waiters {
            let (mut acquire, polls) = (limiter.acquire(1), Arc::clone(&polls));
            tasks.spawn(poll_fn(move |cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                Pin::new(&mut acquire).poll(cx)
            }));
        }
        assert!(tasks.join_all().await.into_iter().all(|result| result.is_ok()));
        let polls = polls.load(Ordering::Relaxed);
        assert!(polls as f64 <= 3.2 * f64::from(waiters), "{polls} polls of {waiters}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_would_wait_too_long_is_refused_at_once() {
    let limiter =
        Limiter::new(Quota::per_second(10).burst(1)).wait(Wait::up_to(TICK * 25).max_waiting(2));
    limiter.try_acquire(1).unwrap();
    let mut waiting = [limiter.acquire(1), limiter.acquire(1)];
    assert!(waiting.iter_mut().all(|acquire| poll(acquire).is_pending()));
    let start = Instant::now();
    let limited = limiter.acquire(1).await.unwrap_err();
    assert_eq!(limited.reason(), LimitedReason::TooLong);
    assert_eq!(limited.retry_after(), Some(Duration::from_millis(300)));
    assert_eq!(start.elapsed(), Duration::ZERO);

    let deadline = Instant::now() + TICK * 15;
    let [first, second] = waiting;
    drop(second);
    let limited = limiter.acquire_before(1, deadline).await.unwrap_err();
    assert_eq!(limited.reason(), LimitedReason::TooLong);
    let mut second = limiter.acquire_before(1, deadline + TICK * 5);
    assert!(poll(&mut second).is_pending());
    drop(first);
    assert_eq!(second.await, Ok(()));
    assert_eq!(start.elapsed(), TICK * 10);
}

#[tokio::test(start_paused = true)]
async fn no_more_wait_than_may() {
    let limiter = limiter(1).wait(Wait::forever().max_waiting(2));
    limiter.try_acquire(1).unwrap();
    let mut waiting = [limiter.acquire(1), limiter.acquire(1)];
    assert!(waiting.iter_mut().all(|acquire| poll(acquire).is_pending()));
    let limited = limiter.acquire(1).await.unwrap_err();
    assert_eq!(limited.reason(), LimitedReason::Full);
    assert_eq!(limited.retry_after(), Some(TICK * 3));
}

#[tokio::test(start_paused = true)]
async fn the_line_is_not_jumped() {
    let limiter = limiter(1);
    limiter.try_acquire(1).unwrap();
    let mut waiting = limiter.acquire(1);
    assert!(poll(&mut waiting).is_pending());
    advance(TICK * 5).await;
    // A token is there, and it is not for who comes just now.
    assert_eq!(limiter.try_acquire(1).unwrap_err().reason(), LimitedReason::Exhausted);
    waiting.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn changes_reach_those_that_wait() {
    let limiter = Limiter::new(Quota::per_hour(1)).wait(Wait::forever());
    limiter.try_acquire(1).unwrap();
    let start = Instant::now();
    let waiting = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.acquire(1).await }
    });
    sleep(TICK).await;
    limiter.pause(Duration::from_secs(7200));
    limiter.pause(Duration::from_secs(1));
    assert_eq!(limiter.snapshot().paused_for, Some(Duration::from_secs(7200)));
    sleep(TICK).await;
    limiter.resume();
    sleep(TICK).await;
    limiter.refund(1);
    waiting.await.unwrap().unwrap();
    assert_eq!(start.elapsed(), TICK * 3);

    let waiting = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.acquire(1).await }
    });
    sleep(TICK).await;
    assert_eq!(limiter.shed(), 1);
    assert_eq!(waiting.await.unwrap().unwrap_err().reason(), LimitedReason::Shed);
    assert!(limiter.retune(&[]).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_quota_can_change_under_a_full_line() {
    let limiter = Limiter::new(Quota::every(Duration::from_secs(1))).wait(Wait::forever());
    limiter.try_acquire(1).unwrap();
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..10 {
        let limiter = limiter.clone();
        tasks.spawn(async move { limiter.acquire(1).await.unwrap() });
    }
    sleep(TICK).await;
    limiter.retune(&[Quota::every(TICK)]).unwrap();
    tasks.join_all().await;
    // One token was missing, for all but the time that had passed; and then one each 10 ms.
    let elapsed = start.elapsed() - TICK;
    assert!(TICK * 99 / 10 <= elapsed && elapsed <= TICK * 10, "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn what_costs_more_than_the_burst_is_refused_or_a_debt() {
    let start = Instant::now();
    let limited = limiter(5).acquire(6).await.unwrap_err();
    assert_eq!((limited.reason(), limited.retry_after()), (LimitedReason::OverBurst, None));
    let debtor = limiter(5).over_burst(OverBurst::Debt);
    debtor.acquire(15).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    debtor.acquire(1).await.unwrap();
    assert_eq!(start.elapsed(), TICK * 11);
    debtor.charge(10);
    debtor.acquire(0).await.unwrap();
    debtor.acquire(1).await.unwrap();
    assert_eq!(start.elapsed(), TICK * 22);
}

#[tokio::test(start_paused = true)]
async fn several_quotas_hold_at_once() {
    let limiter = Limiter::new(Quota::per_second(100).burst(10))
        .and(Quota::per_hour(20).burst(20))
        .wait(Wait::reject());
    let mut granted = 0;
    for _ in 0..2000 {
        granted += u32::from(limiter.try_acquire(1).is_ok());
        advance(Duration::from_millis(1)).await;
    }
    assert_eq!(granted, 20);
}

#[tokio::test(start_paused = true)]
async fn unlimited_is_no_limit() {
    let limiter = Limiter::new(Quota::UNLIMITED);
    for _ in 0..10_000 {
        limiter.try_acquire(u32::MAX).unwrap();
    }
}

#[test]
fn a_runtime_that_ends_lets_the_others_go_on() {
    let limiter = Limiter::new(Quota::every(Duration::from_millis(20))).wait(Wait::forever());
    limiter.try_acquire(1).unwrap();
    let one =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let first = limiter.clone();
    one.spawn(async move { first.acquire(1).await });
    while limiter.snapshot().waiting == 0 {
        std::thread::yield_now();
    }
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let second = limiter.clone();
    let waiting = std::thread::spawn(move || other.block_on(second.acquire(1)));
    while limiter.snapshot().waiting < 2 && !waiting.is_finished() {
        std::thread::yield_now();
    }
    one.shutdown_background();
    waiting.join().unwrap().unwrap();
}

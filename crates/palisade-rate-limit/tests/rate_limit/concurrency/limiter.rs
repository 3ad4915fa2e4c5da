//! A limiter by itself.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use palisade_rate_limit::{
    AcquirePermit, ConcurrencyLimiter, Limited, LimitedReason, Permit, Wait,
};
use tokio::{
    task::{JoinSet, yield_now},
    time::{Instant, advance, sleep, timeout},
};

use super::support::{SECOND, TICK};

fn limiter(limit: usize) -> ConcurrencyLimiter {
    ConcurrencyLimiter::new(limit).wait(Wait::forever())
}

fn poll(acquire: &mut AcquirePermit) -> Poll<Result<Permit, Limited>> {
    Pin::new(acquire).poll(&mut Context::from_waker(Waker::noop()))
}

fn waiting(limiter: &ConcurrencyLimiter) -> AcquirePermit {
    let mut acquire = limiter.acquire();
    assert!(poll(&mut acquire).is_pending());
    acquire
}

/// `limit`, `in_flight`, `waiting`.
fn stands(limiter: &ConcurrencyLimiter) -> (usize, usize, usize) {
    let snapshot = limiter.snapshot();
    (snapshot.limit, snapshot.in_flight, snapshot.waiting)
}

#[tokio::test(start_paused = true)]
async fn who_comes_first_goes_first() {
    let limiter = limiter(3);
    let gone = Arc::new(Mutex::new(Vec::new()));
    let most = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..63_u32 {
        let (limiter, gone, most) = (limiter.clone(), Arc::clone(&gone), Arc::clone(&most));
        tasks.spawn(async move {
            for turn in 0..5 {
                let _permit = limiter.acquire().await.unwrap();
                most.fetch_max(limiter.snapshot().in_flight, Ordering::Relaxed);
                gone.lock().unwrap().push((task, turn, start.elapsed()));
                sleep(TICK).await;
            }
        });
    }
    tasks.join_all().await;
    for (index, (task, turn, at)) in (0..).zip(gone.lock().unwrap().iter()) {
        assert_eq!((*task, *turn), (index % 63, index / 63));
        assert_eq!(*at, TICK * (index / 3));
    }
    assert_eq!(most.load(Ordering::Relaxed), 3);
    assert_eq!(stands(&limiter), (3, 0, 0));
}

#[tokio::test]
async fn whoever_leaves_takes_nothing_along() {
    for leaver in 0..3 {
        let limiter = limiter(1);
        let permit = limiter.try_acquire().unwrap();
        let mut line: Vec<_> = (0..3).map(|_| waiting(&limiter)).collect();
        drop(line.remove(leaver));
        assert_eq!(stands(&limiter), (1, 1, 2));
        drop(permit);
        assert!(poll(&mut line[1]).is_pending(), "it is behind");
        let Poll::Ready(Ok(permit)) = poll(&mut line[0]) else { panic!("it is its turn") };
        drop((permit, line.remove(0)));
        assert!(poll(&mut line[0]).is_ready());
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn poll_with(acquire: &mut AcquirePermit, count: &Arc<Count>) -> Poll<Result<Permit, Limited>> {
    let waker = Waker::from(Arc::clone(count));
    Pin::new(acquire).poll(&mut Context::from_waker(&waker))
}

#[tokio::test]
async fn who_leaves_after_it_was_woken_lets_the_next_one_go() {
    let limiter = limiter(1);
    let permit = limiter.try_acquire().unwrap();
    let counts: [Arc<Count>; 3] = Default::default();
    let mut line: Vec<_> = counts.iter().map(|_| limiter.acquire()).collect();
    for (acquire, count) in line.iter_mut().zip(&counts) {
        assert!(poll_with(acquire, count).is_pending());
    }
    let woken = || counts.iter().map(|count| count.0.load(Ordering::Relaxed)).collect::<Vec<_>>();
    drop(permit);
    assert_eq!(woken(), [1, 0, 0], "nobody else is woken in vain");
    drop(line.remove(0));
    assert_eq!(woken(), [1, 1, 0]);
    drop(line.remove(0));
    assert_eq!(woken(), [1, 1, 1]);
    assert!(poll(&mut line[0]).is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_thousand_that_leave_leave_nothing() {
    let limiter = limiter(2);
    let permits = [limiter.try_acquire().unwrap(), limiter.try_acquire().unwrap()];
    let mut tasks = JoinSet::new();
    for _ in 0..1000 {
        let limiter = limiter.clone();
        tasks.spawn(async move { limiter.acquire().await.map(drop) });
    }
    sleep(TICK).await;
    assert_eq!(stands(&limiter), (2, 2, 1000));
    tasks.shutdown().await;
    assert_eq!(stands(&limiter), (2, 2, 0));
    drop(permits);
    let permits = [limiter.try_acquire().unwrap(), limiter.try_acquire().unwrap()];
    assert!(limiter.try_acquire().is_err());
    drop(permits);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_gives_up_in_time_wherever_it_stands() {
    let limiter = limiter(1).wait(Wait::up_to(SECOND));
    let permit = limiter.try_acquire().unwrap();
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for after in 0..3 {
        let limiter = limiter.clone();
        tasks.spawn(async move {
            sleep(TICK * after).await;
            let limited = limiter.acquire().await.unwrap_err();
            assert_eq!((limited.reason(), limited.retry_after()), (LimitedReason::TooLong, None));
            // Not before, and the timer is up to a millisecond late.
            let late = start.elapsed() - SECOND - TICK * after;
            assert!(late <= TICK / 5, "{late:?}");
        });
    }
    tasks.join_all().await;
    assert_eq!(stands(&limiter), (1, 1, 0));
    // One with less time than those before it.
    let mut first = waiting(&limiter);
    let (second, now) = (limiter.acquire_before(Instant::now() + TICK), Instant::now());
    assert_eq!(second.await.unwrap_err().reason(), LimitedReason::TooLong);
    assert!(now.elapsed() <= TICK * 2);
    let past = limiter.acquire_before(now).await.unwrap_err();
    assert_eq!((past.reason(), past.retry_after()), (LimitedReason::TooLong, None));
    drop(permit);
    assert!(poll(&mut first).is_ready());
}

#[tokio::test]
async fn for_ever_needs_no_timer() {
    // A runtime without one.
    std::thread::spawn(|| {
        let limiter = limiter(1);
        let permit = limiter.try_acquire().unwrap();
        let mut acquire = waiting(&limiter);
        drop(permit);
        assert!(poll(&mut acquire).is_ready());
    })
    .join()
    .unwrap();
}

#[tokio::test]
async fn no_more_wait_than_may() {
    let limiter = limiter(1).wait(Wait::up_to(SECOND).max_waiting(2));
    let _permit = limiter.try_acquire().unwrap();
    let mut line = vec![waiting(&limiter), waiting(&limiter)];
    let full = limiter.acquire().await.unwrap_err();
    assert_eq!((full.reason(), full.retry_after()), (LimitedReason::Full, None));
    line.pop();
    line.push(waiting(&limiter));
    let rejects = limiter.wait(Wait::reject());
    let permit = rejects.acquire().await.unwrap();
    for limited in [rejects.acquire().await.unwrap_err(), rejects.try_acquire().unwrap_err()] {
        assert_eq!((limited.reason(), limited.retry_after()), (LimitedReason::Exhausted, None));
    }
    drop(permit);
}

#[tokio::test]
async fn the_line_is_not_jumped() {
    let limiter = limiter(1);
    let permit = limiter.try_acquire().unwrap();
    let mut first = waiting(&limiter);
    drop(permit);
    assert!(limiter.try_acquire().is_err());
    let mut second = waiting(&limiter);
    let first = poll(&mut first);
    assert!(first.is_ready() && poll(&mut second).is_pending());
    drop(first);
    assert!(poll(&mut second).is_ready());
}

#[tokio::test]
async fn the_limit_moves_under_those_that_wait() {
    let limiter = limiter(4);
    let mut permits: Vec<_> = (0..4).map(|_| limiter.try_acquire().unwrap()).collect();
    let mut line: Vec<_> = (0..3).map(|_| waiting(&limiter)).collect();
    limiter.set_limit(1);
    // Nothing is cancelled, and nothing goes until enough has ended.
    for left in [3, 2, 1] {
        permits.pop();
        assert_eq!(stands(&limiter), (1, left, 3));
        assert!(poll(&mut line[0]).is_pending());
    }
    limiter.set_limit(0);
    permits.clear();
    assert!(poll(&mut line[0]).is_pending());
    limiter.set_limit(2);
    let granted: Vec<_> = line.iter_mut().map(poll).filter(Poll::is_ready).collect();
    assert_eq!((granted.len(), stands(&limiter)), (2, (2, 2, 1)));
}

#[tokio::test]
async fn nobody_is_woken_while_too_many_are_in_flight() {
    let limiter = limiter(5);
    let mut permits: Vec<_> = (0..5).map(|_| limiter.try_acquire().unwrap()).collect();
    let (mut acquire, count) = (limiter.acquire(), Arc::default());
    assert!(poll_with(&mut acquire, &count).is_pending());
    limiter.set_limit(2);
    for (left, woken) in [(4, 0), (3, 0), (2, 0), (1, 1), (0, 1)] {
        permits.pop();
        assert_eq!((permits.len(), count.0.load(Ordering::Relaxed)), (left, woken));
    }
    assert!(poll_with(&mut acquire, &count).is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_grows_wakes_as_many_as_may_go() {
    let limiter = limiter(1);
    let _permit = limiter.try_acquire().unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..10 {
        let limiter = limiter.clone();
        tasks.spawn(async move {
            let _permit = limiter.acquire().await.unwrap();
            sleep(SECOND).await;
        });
    }
    yield_now().await;
    limiter.set_limit(5);
    advance(TICK).await;
    assert_eq!(stands(&limiter), (5, 5, 6));
    timeout(SECOND * 4, tasks.join_all()).await.unwrap();
}

#[tokio::test]
async fn all_that_wait_can_be_sent_away() {
    let limiter = limiter(1);
    let _permit = limiter.try_acquire().unwrap();
    let line: Vec<_> = (0..3).map(|_| waiting(&limiter)).collect();
    assert_eq!(limiter.shed(), 3);
    for acquire in line {
        let limited = acquire.await.unwrap_err();
        assert_eq!((limited.reason(), limited.retry_after()), (LimitedReason::Shed, None));
    }
    assert_eq!(stands(&limiter), (1, 1, 0));
}

#[test]
fn a_limit_of_zero_is_refused() {
    assert!(ConcurrencyLimiter::try_new(0).is_err());
    assert!(ConcurrencyLimiter::try_new(1).is_ok());
}

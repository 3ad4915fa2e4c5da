//! The line between threads, in many orders of their steps: who waits is woken,
//! whoever leaves, and nobody gets what is not there.

use std::sync::Arc;

use shuttle::{
    rand::{Rng, thread_rng},
    sync::atomic::AtomicU64 as Time,
    thread,
};

use super::*;
use crate::{Heard, Quota, feedback::FeedbackSettings, server::Learned, sync::Bell};

const INTERVAL: u64 = 1_000_000_000;

fn shared(quota: Quota) -> Arc<Shared> {
    let settings = Settings { wait: Wait::forever(), ..Settings::new(quota) };
    Arc::new(Shared::new(Arc::new(settings), Target::default()))
}

/// Gets tokens as a future does, and lets time go on where that would wait for
/// a timer. Says when it may go; nothing, if it has left.
fn acquire(shared: &Shared, time: &Time, cost: u32, leaves: bool) -> Option<u64> {
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let now = time.load(Ordering::SeqCst);
    if shared.try_take(|| now, cost).is_ok() {
        return Some(now);
    }
    let now = time.load(Ordering::SeqCst);
    let Some(place) = shared.join(now, cost, u64::MAX, &waker).expect("it may wait") else {
        return Some(now);
    };
    if leaves {
        thread::yield_now();
        shared.leave(place);
        return None;
    }
    loop {
        let now = time.load(Ordering::SeqCst);
        match shared.step(now, place, cost, u64::MAX, &waker) {
            Step::Go => return Some(now),
            Step::Refused(limited) => {
                assert_eq!(limited.reason(), LimitedReason::Shed);
                return None;
            }
            Step::Behind => bell.wait(),
            Step::Until(at) => drop(time.fetch_max(at, Ordering::SeqCst)),
        }
    }
}

fn check(model: impl Fn() + Send + Sync + 'static) {
    shuttle::check_random(model, 5000);
}

#[test]
fn whoever_waits_gets_its_turn() {
    check(|| {
        let shared = shared(Quota::every(Duration::from_nanos(INTERVAL)).burst(2));
        let time = Arc::new(Time::new(0));
        let threads: Vec<_> = (0..4_u32)
            .map(|number| {
                let (shared, time) = (Arc::clone(&shared), Arc::clone(&time));
                let leaves = thread_rng().r#gen();
                thread::spawn(move || acquire(&shared, &time, 1 + number % 2, leaves))
            })
            .collect();
        let gone = threads.into_iter().enumerate().filter_map(|(number, thread)| {
            thread.join().unwrap().map(|at| (at, 1 + number as u64 % 2))
        });
        let gone: Vec<_> = gone.collect();
        assert_eq!(shared.waiting(), 0);
        // By any time, no more than the burst and what has come back since, and what lateness is
        // made up for.
        for (at, _) in &gone {
            let cost: u64 =
                gone.iter().filter(|(other, _)| other <= at).map(|(_, cost)| cost).sum();
            assert!(cost <= 2 + at / INTERVAL + 1, "{gone:?}");
        }
    });
}

#[test]
fn who_is_sent_away_goes_and_who_comes_after_that_stays() {
    check(|| {
        let shared = shared(Quota::every(Duration::from_nanos(INTERVAL)));
        let time = Arc::new(Time::new(0));
        let waits = |cost| {
            let (shared, time) = (Arc::clone(&shared), Arc::clone(&time));
            thread::spawn(move || acquire(&shared, &time, cost, false))
        };
        let threads = [waits(1), waits(1), waits(1)];
        shared.shed();
        shared.limits.pause_until(INTERVAL);
        shared.wake_first();
        let later = waits(1);
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(later.join().unwrap().is_some());
        assert_eq!(shared.waiting(), 0);
    });
}

/// Whether the one that goes first is answered or lost, the others go after it.
#[test]
fn whoever_waits_for_a_server_goes_after_its_pause() {
    check(|| {
        let feedback = FeedbackSettings::default();
        let learned = Some(Arc::new(Learned::new(feedback)));
        let settings =
            Settings { wait: Wait::forever(), learned, ..Settings::new(Quota::UNLIMITED) };
        let shared: Arc<Shared> = Arc::new(Shared::new(Arc::new(settings), Target::default()));
        let refused = crate::Signal::throttled().retry_after(Duration::from_secs(1)).into();
        shared.limits.server().hear(0, None, &refused, &shared);
        let time = Arc::new(Time::new(0));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (shared, time) = (Arc::clone(&shared), Arc::clone(&time));
                let is_lost: bool = thread_rng().r#gen();
                thread::spawn(move || {
                    let at = acquire(&shared, &time, 1, false).expect("it stays");
                    let server = shared.limits.server();
                    let sent = server.send(at, 1);
                    let now = time.load(Ordering::SeqCst);
                    if is_lost {
                        server.lose(&sent);
                        shared.wake_first();
                    } else if server.hear(now, Some(sent), &Heard::default(), &shared).1 {
                        shared.wake_first();
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(shared.waiting(), 0);
        let now = time.load(Ordering::SeqCst);
        assert!(INTERVAL <= now, "somebody had to wait for the end of the pause");
        // Nothing is left of it.
        assert!(shared.limits.held_until(1) <= now + INTERVAL);
    });
}

//! Permits between threads, in many orders of their steps: who waits is woken,
//! whoever leaves and however the limit moves, and no more are in flight than
//! may.

use std::{sync::Arc, task::Waker};

use palisade_core::Target;
use shuttle::{
    rand::{Rng, thread_rng},
    thread,
};

use super::*;
use crate::{
    Fixed, Permit,
    shared::{Shared, Step},
    sync::Bell,
};

type Limited = Arc<Shared<Places<Fixed>>>;

fn shared(limit: usize) -> Limited {
    let (algorithm, clock) = (Fixed::new(limit), Clock::new());
    let settings =
        PlaceSettings { algorithm, wait: Wait::forever(), observer: Default::default(), clock };
    Arc::new(Shared::new(Arc::new(settings), Target::default()))
}

/// Gets a permit as a future does. Nothing, if it has left.
fn acquire(shared: &Limited, leaves: bool) -> Option<Permit> {
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    if shared.try_take(|| 0, 1).is_ok() {
        return Some(Permit::new(Arc::clone(shared)));
    }
    let Some(place) = shared.join(0, 1, u64::MAX, &waker).expect("it may wait") else {
        return Some(Permit::new(Arc::clone(shared)));
    };
    loop {
        match shared.step(0, place, 1, u64::MAX, &waker) {
            Step::Go => return Some(Permit::new(Arc::clone(shared))),
            Step::Refused(_) => return None,
            Step::Behind if leaves => {
                // It may have been woken already.
                thread::yield_now();
                shared.leave(place);
                return None;
            }
            Step::Behind => bell.wait(),
            Step::Until(_) => panic!("nobody knows when"),
        }
    }
}

fn check(model: impl Fn() + Send + Sync + 'static) {
    shuttle::check_random(model, 5000);
}

/// Each of some threads gets permits, or leaves. In flight are never more than
/// the most that may be.
fn crowd(shared: &Limited, most: usize) -> Vec<thread::JoinHandle<()>> {
    let worker = |_| {
        let shared = Arc::clone(shared);
        let leaves: [bool; 2] = [thread_rng().r#gen(), thread_rng().r#gen()];
        thread::spawn(move || {
            for leaves in leaves {
                let Some(permit) = acquire(&shared, leaves) else {
                    continue;
                };
                assert!(shared.limits.in_flight() <= most);
                thread::yield_now();
                drop(permit);
            }
        })
    };
    (0..4).map(worker).collect()
}

fn nobody_is_left(shared: &Limited, threads: Vec<thread::JoinHandle<()>>) {
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!((shared.waiting(), shared.limits.in_flight()), (0, 0));
}

#[test]
fn whoever_waits_gets_its_permit() {
    check(|| {
        let limit = thread_rng().gen_range(1..3);
        let shared = shared(limit);
        let threads = crowd(&shared, limit);
        nobody_is_left(&shared, threads);
    });
}

#[test]
fn whoever_waits_gets_its_permit_as_the_limit_moves() {
    check(|| {
        let shared = shared(1);
        let threads = crowd(&shared, 3);
        for limit in [2, 0, 3, 1] {
            if shared.limits.set_limit(limit) {
                shared.wake_first();
            }
            thread::yield_now();
        }
        nobody_is_left(&shared, threads);
    });
}

#[test]
fn a_limit_that_grows_lets_the_waiting_go_though_nothing_ends() {
    check(|| {
        let shared = shared(1);
        let held = acquire(&shared, false).unwrap();
        let waits = || {
            let shared = Arc::clone(&shared);
            thread::spawn(move || acquire(&shared, false))
        };
        let threads = [waits(), waits()];
        if shared.limits.set_limit(3) {
            shared.wake_first();
        }
        for thread in threads {
            assert!(thread.join().unwrap().is_some());
        }
        drop(held);
        assert_eq!((shared.waiting(), shared.limits.in_flight()), (0, 0));
    });
}

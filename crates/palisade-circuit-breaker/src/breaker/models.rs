//! The breaker between threads, in other orders of their steps.

use std::{sync::Arc as StdArc, time::Duration};

use palisade_core::Target;
use palisade_settings::{Backoff, Jitter};

use super::{Breaker, Grade, Token};
use crate::{
    HalfOpen, State, Trip, Window,
    model::{
        Arc, bounded, check,
        thread::{self, JoinHandle},
    },
    settings::Settings,
};

const MS: u64 = 1_000_000;
/// Long after all states have ended.
const LATER: u64 = 1_000_000 * MS;

fn breaker(trip: Trip, permits: u32) -> Arc<Breaker> {
    let mut settings = Settings::new(trip);
    let open_for = Backoff::constant(Duration::from_millis(5)).jitter(Jitter::None);
    settings.open_for = StdArc::new(open_for);
    settings.half_open = HalfOpen::permits(permits).timeout(Duration::from_millis(5));
    Arc::new(Breaker::new(StdArc::new(settings), Target::default()))
}

/// A breaker that has just opened.
fn tripped(permits: u32) -> Arc<Breaker> {
    let breaker = breaker(Trip::consecutive(1), permits);
    let token = breaker.admit(|| 0).unwrap();
    fail(&breaker, token, 0);
    assert_eq!(breaker.word().state, State::Open);
    breaker
}

fn fail(breaker: &Breaker, token: Token, now: u64) {
    breaker.record(token, Grade::Failure, || None, || now);
}

fn succeed(breaker: &Breaker, token: Token, now: u64) {
    breaker.record(token, Grade::Success, || None, || now);
}

fn spawn<T: Send + 'static>(
    breaker: &Arc<Breaker>,
    work: impl FnOnce(&Breaker) -> T + Send + 'static,
) -> JoinHandle<T> {
    let breaker = Arc::clone(breaker);
    thread::spawn(move || work(&breaker))
}

/// What was written last is there once all is quiet.
fn assert_marked(breaker: &Breaker) {
    assert!(breaker.mark().is_of(breaker.word().generation));
}

#[test]
fn one_caller_half_opens() {
    bounded(|| {
        let breaker = tripped(1);
        let admit = |breaker: &Breaker| breaker.admit(|| LATER).is_ok();
        let others = [spawn(&breaker, admit), spawn(&breaker, admit)];
        let admitted = usize::from(admit(&breaker))
            + others.into_iter().filter_map(|other| other.join().ok()).filter(|ok| *ok).count();
        assert_eq!(admitted, 1);
        assert_eq!(breaker.word().state, State::HalfOpen);
        assert_marked(&breaker);
    });
}

#[test]
fn no_more_are_admitted_than_there_are_permits() {
    bounded(|| {
        let breaker = tripped(2);
        // One of them comes, and goes without having said anything.
        let pass = |breaker: &Breaker| {
            if let Ok(token) = breaker.admit(|| LATER) {
                breaker.abandon(token, false, Grade::Ignore, || LATER);
            }
            false
        };
        let stay = |breaker: &Breaker| breaker.admit(|| LATER).is_ok();
        let others = [spawn(&breaker, pass), spawn(&breaker, stay)];
        let here = stay(&breaker);
        let held = u32::from(here)
            + others.into_iter().map(|other| u32::from(other.join().unwrap())).sum::<u32>();
        assert!((1..=2).contains(&held));
        assert_eq!(breaker.word().probes().in_flight(), held);
        // What is free is given away, and no more.
        let more = (0..3).filter(|_| stay(&breaker)).count() as u32;
        assert_eq!(held + more, 2);
    });
}

#[test]
fn two_failures_in_a_row_open_it_however_they_meet() {
    check(|| {
        let breaker = breaker(Trip::consecutive(2), 1);
        let call = |breaker: &Breaker| {
            let token = breaker.admit(|| 0).unwrap();
            fail(breaker, token, 0);
        };
        let other = spawn(&breaker, call);
        call(&breaker);
        other.join().unwrap();
        assert_eq!(breaker.word().state, State::Open);
        assert_eq!(breaker.word().generation, 1);
        assert_marked(&breaker);
    });
}

// Of two failures in two words of the ring, one sees both.
#[test]
fn the_last_failure_in_a_ring_opens_it() {
    check(|| {
        let trip = Trip::failure_rate(2.0 / 33.0).window(Window::count(64)).min_calls(33);
        let breaker = breaker(trip, 1);
        for _ in 0..31 {
            let token = breaker.admit(|| 0).unwrap();
            succeed(&breaker, token, 0);
        }
        let call = |breaker: &Breaker| {
            let token = breaker.admit(|| 0).unwrap();
            fail(breaker, token, 0);
        };
        let other = spawn(&breaker, call);
        call(&breaker);
        other.join().unwrap();
        assert_eq!(breaker.word().state, State::Open);
    });
}

// As above, in two buckets; one of them is new.
#[test]
fn the_last_failure_in_buckets_opens_it() {
    check(|| {
        let window = Window::time(Duration::from_millis(2)).buckets(2);
        let breaker = breaker(Trip::failure_rate(1.0).window(window).min_calls(2), 1);
        let token = breaker.admit(|| 0).unwrap();
        let other = spawn(&breaker, move |breaker| fail(breaker, token, 0));
        fail(&breaker, token, MS);
        other.join().unwrap();
        assert_eq!(breaker.word().state, State::Open);
        assert_marked(&breaker);
    });
}

// Both find the bucket of a window ago.
#[test]
fn who_rolls_a_bucket_loses_nobody() {
    check(|| {
        let window = Window::time(Duration::from_millis(2)).buckets(2);
        let breaker = breaker(Trip::failure_rate(1.0).window(window).min_calls(9), 1);
        let token = breaker.admit(|| 0).unwrap();
        succeed(&breaker, token, 0);
        let other = spawn(&breaker, move |breaker| fail(breaker, token, 2 * MS));
        succeed(&breaker, token, 2 * MS);
        other.join().unwrap();
        let counts = breaker.view(2 * MS).counts;
        assert_eq!((counts.calls, counts.failures), (2, 1));
    });
}

// One has read the clock a window before the other, and is late to write.
#[test]
fn a_bucket_changes_hands_as_a_whole() {
    check(|| {
        let window = Window::time(Duration::from_millis(2)).buckets(2);
        let breaker = breaker(Trip::failure_rate(1.0).window(window).min_calls(9), 1);
        let token = breaker.admit(|| 0).unwrap();
        let other = spawn(&breaker, move |breaker| fail(breaker, token, 0));
        succeed(&breaker, token, 2 * MS);
        other.join().unwrap();
        let counts = breaker.view(2 * MS).counts;
        assert!((1..=2).contains(&counts.calls), "{counts:?}");
        assert!(counts.failures < counts.calls, "{counts:?}");
    });
}

#[test]
fn a_late_result_changes_nothing() {
    for window in [Window::count(4), Window::time(Duration::from_millis(2)).buckets(2)] {
        check(move || {
            let breaker = breaker(Trip::failure_rate(1.0).window(window).min_calls(3), 1);
            let early = breaker.admit(|| 0).unwrap();
            let late = spawn(&breaker, move |breaker| fail(breaker, early, 0));
            breaker.force(State::Closed, "ordered");
            let token = breaker.admit(|| 0).unwrap();
            fail(&breaker, token, 0);
            late.join().unwrap();
            let counts = breaker.view(0).counts;
            assert_eq!((counts.calls, counts.failures), (1, 1));
        });
    }
}

#[test]
fn an_order_stands_against_a_trip() {
    for (order, state) in [(State::ForcedOpen, State::ForcedOpen), (State::Closed, State::Closed)] {
        check(move || {
            let breaker = breaker(Trip::consecutive(1), 1);
            let token = breaker.admit(|| 0).unwrap();
            let trip = spawn(&breaker, move |breaker| fail(breaker, token, 0));
            breaker.force(order, "ordered");
            trip.join().unwrap();
            assert_eq!(breaker.word().state, state);
            assert_marked(&breaker);
        });
    }
}

#[test]
fn a_probe_counts_or_its_time_is_over() {
    check(|| {
        let breaker = tripped(1);
        let probe = breaker.admit(|| LATER).unwrap();
        let answer = spawn(&breaker, move |breaker| succeed(breaker, probe, LATER));
        let admitted = breaker.admit(|| 2 * LATER).is_ok();
        answer.join().unwrap();
        let state = if admitted { State::Closed } else { State::Open };
        assert_eq!(breaker.word().state, state);
        assert_marked(&breaker);
    });
}

// The mark is written after the state: who comes in between must not take the end of the state
// before for that of this one.
#[test]
fn nobody_ends_a_state_that_has_just_begun() {
    check(|| {
        let breaker = breaker(Trip::consecutive(1), 1);
        let token = breaker.admit(|| 0).unwrap();
        let trip = spawn(&breaker, move |breaker| fail(breaker, token, LATER));
        // loom remembers the last access to a word alone, so it does not see that what is read here
        // comes before what the other thread writes, unless that goes first.
        thread::yield_now();
        // Closed, or open: the mark of the closed state has ended long ago.
        let admitted = breaker.admit(|| LATER);
        trip.join().unwrap();
        assert_eq!(breaker.word().state, State::Open);
        assert!(admitted.is_err() || breaker.word().generation == 1);
        assert!(breaker.admit(|| LATER + MS).is_err());
    });
}

// Three states within a moment: the mark of the last one stands.
#[test]
fn marks_do_not_go_back() {
    bounded(|| {
        let breaker = breaker(Trip::consecutive(1), 1);
        let token = breaker.admit(|| 0).unwrap();
        let trip = spawn(&breaker, move |breaker| fail(breaker, token, 0));
        let close = spawn(&breaker, |breaker| breaker.force(State::Closed, "ordered"));
        if let Ok(token) = breaker.admit(|| LATER) {
            fail(&breaker, token, LATER);
        }
        trip.join().unwrap();
        close.join().unwrap();
        assert_marked(&breaker);
    });
}

#[test]
fn calls_at_the_same_time_are_all_counted() {
    bounded(|| {
        let breaker = breaker(Trip::failure_rate(1.0).window(Window::count(2)).min_calls(2), 1);
        let token = breaker.admit(|| 0).unwrap();
        let others = [(); 2].map(|()| spawn(&breaker, move |breaker| succeed(breaker, token, 0)));
        fail(&breaker, token, 0);
        others.into_iter().for_each(|other| other.join().unwrap());
        let counts = breaker.view(0).counts;
        assert_eq!(counts.calls, 2);
        assert!(counts.failures <= 1);
        assert_eq!(breaker.word().state, State::Closed);
    });
}

use std::{
    future::Future,
    pin::pin,
    task::{Context, Waker},
};

use palisade_circuit_breaker::{CircuitBreakerLayer, OnCancel, OpenReason, State, Trip, Window};
use palisade_core::Outcome;

use crate::api::{Api, End, MS, OK, SECOND, pass, simple, watched};

#[tokio::test(start_paused = true)]
async fn orders_stand_until_the_next_one() {
    let (api, breaker) = watched(simple());
    breaker.force_open();
    for _ in 0..3 {
        assert_eq!(api.call().await, End::Refused(OpenReason::Forced));
        pass(1000 * SECOND).await;
    }
    breaker.disable();
    api.answers(500);
    for _ in 0..100 {
        assert_eq!(api.call().await, End::Answered(500));
    }
    assert_eq!(breaker.state(), State::Disabled);
    breaker.reset();
    assert_eq!(api.fail().await, 3);
    breaker.reset();
    assert_eq!(api.fail().await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_says_what_is_known() {
    let window = Window::count(10);
    let trip = Trip::consecutive(3)
        .or(Trip::failure_rate(1.0).window(window))
        .or(Trip::slow_rate(SECOND, 1.0));
    let (api, breaker) = watched(simple().trip(trip));
    assert_eq!(breaker.snapshot().failure_rate(), None);
    for status in [200, 500, 200, 500] {
        api.answers(status);
        api.call().await;
    }
    api.hangs();
    let slow = api.begin().await;
    pass(SECOND).await;
    api.release(500);
    slow.await.unwrap();
    pass(SECOND).await;
    let snapshot = breaker.snapshot();
    assert_eq!((snapshot.calls, snapshot.failures, snapshot.slow), (5, 3, 1));
    assert_eq!((snapshot.failure_rate(), snapshot.slow_rate()), (Some(0.6), Some(0.2)));
    assert_eq!((snapshot.state, snapshot.failures_in_row), (State::Closed, 2));
    assert_eq!((snapshot.since, snapshot.remaining), (2 * SECOND, None));

    api.fail().await;
    pass(MS).await;
    let snapshot = breaker.snapshot();
    assert_eq!((snapshot.state, snapshot.generation), (State::Open, 1));
    assert_eq!((snapshot.since, snapshot.remaining), (MS, Some(5 * SECOND - MS)));
    assert_eq!((snapshot.calls, snapshot.failures_in_row), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_watches_sees_every_state_there_is() {
    let (api, breaker) = watched(simple());
    let mut states = breaker.subscribe();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(pin!(states.changed()).poll(&mut cx).is_pending());

    let watch = tokio::spawn(async move {
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push(states.changed().await);
        }
        (seen, states)
    });
    api.fail().await;
    tokio::task::yield_now().await;
    pass(5 * SECOND).await;
    api.hangs();
    let probe = api.begin().await;
    tokio::task::yield_now().await;
    api.release(200);
    probe.await.unwrap();
    let (seen, mut states) = watch.await.unwrap();
    assert_eq!(seen, [State::Open, State::HalfOpen, State::Closed]);

    // Of several changes that nobody looked at the last one counts.
    breaker.force_open();
    breaker.disable();
    assert_eq!(states.state(), State::Disabled);
    assert_eq!(states.changed().await, State::Disabled);
    assert!(pin!(states.changed()).poll(&mut cx).is_pending());
}

#[tokio::test(start_paused = true)]
async fn does_without_tower() {
    let breaker = simple().handle();
    for failures in 0..3 {
        assert_eq!(breaker.snapshot().failures_in_row, failures);
        breaker.try_acquire().unwrap().record(Outcome::Failed);
    }
    assert_eq!(breaker.try_acquire().unwrap_err().reason(), OpenReason::Tripped);
    pass(5 * SECOND).await;
    let permit = breaker.try_acquire().unwrap();
    assert_eq!(breaker.try_acquire().unwrap_err().reason(), OpenReason::Probing);
    // Dropped without a word, as a call that was cancelled.
    drop(permit);
    breaker.try_acquire().unwrap().record(Outcome::Success);
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_permit_counts_by_the_policy_when_it_is_dropped() {
    let layer = simple().on_cancel(OnCancel::FailureAfter(SECOND));
    let breaker = layer.handle();
    drop(breaker.try_acquire());
    let permit = breaker.try_acquire();
    pass(SECOND).await;
    drop(permit);
    assert_eq!(breaker.snapshot().failures_in_row, 1);
}

#[test]
fn a_permit_dropped_by_a_panic_has_failed() {
    let breaker = CircuitBreakerLayer::new(Trip::consecutive(1)).handle();
    let work = breaker.clone();
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _permit = work.try_acquire().unwrap();
        std::panic::resume_unwind(Box::new("at work"));
    }));
    assert!(panic.is_err());
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn layers_share_their_breaker_unless_they_are_told_not_to() {
    let layer = simple();
    let api = Api::new(layer.clone());
    let same = Api::new(layer.clone());
    let separate = Api::new(layer.separate());
    // A setter begins afresh as well: other rules, another breaker.
    let changed = Api::new(layer.clone().ramp_up(SECOND));
    api.fail().await;
    assert_ne!(same.call().await, OK);
    assert_eq!(separate.call().await, OK);
    assert_eq!(changed.call().await, OK);
    assert_eq!(layer.handle().state(), State::Open);
}

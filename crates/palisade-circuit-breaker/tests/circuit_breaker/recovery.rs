use std::{
    sync::{Arc, Barrier, Mutex},
    time::Duration,
};

use palisade_circuit_breaker::{
    Backoff, CircuitBreakerLayer, HalfOpen, Jitter, OpenReason, State, Step, Trip, Window,
    schedule_fn,
};
use palisade_core::Outcome;
use palisade_testkit::Answer;

use crate::api::{Api, End, MS, OK, PROBING, SECOND, TRIPPED, pass, simple, watched};

#[tokio::test(start_paused = true)]
async fn goes_round() {
    let (api, breaker) = watched(simple());
    assert_eq!(api.fail().await, 3);
    pass(5 * SECOND - MS).await;
    assert_eq!(api.call().await, TRIPPED);

    // It still fails.
    pass(MS).await;
    assert_eq!(api.call().await, End::Answered(503));
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(api.call().await, TRIPPED);

    pass(5 * SECOND).await;
    api.answers(200);
    assert_eq!(api.call().await, OK);
    assert_eq!(breaker.state(), State::Closed);
    // What failed before is forgotten.
    assert_eq!(api.fail().await, 3);
}

#[tokio::test(start_paused = true)]
async fn each_time_it_stays_open_for_longer_until_it_has_closed() {
    let layer =
        simple().open_for(Backoff::exponential(SECOND).max(5 * SECOND).jitter(Jitter::None));
    let breaker = layer.handle();
    let api = Api::new(layer);
    let remaining = || breaker.snapshot().remaining.unwrap();
    for _ in 0..2 {
        api.fail().await;
        for seconds in [1, 2, 4, 5, 5] {
            assert_eq!(remaining(), seconds * SECOND);
            pass(seconds * SECOND).await;
            assert_eq!(api.call().await, End::Answered(503));
        }
        pass(5 * SECOND).await;
        api.answers(200);
        assert_eq!(api.call().await, OK);
    }
}

#[tokio::test(start_paused = true)]
async fn jitter_stays_within_its_bounds() {
    let mut seen = Vec::new();
    for seed in 0..50 {
        let layer = CircuitBreakerLayer::http().seed(seed);
        let breaker = layer.handle();
        Api::new(layer).fail().await;
        seen.push(breaker.snapshot().remaining.unwrap());
    }
    assert!(seen.iter().all(|open| (2500 * MS..=5 * SECOND).contains(open)), "{seen:?}");
    seen.sort_unstable();
    seen.dedup();
    assert!(40 < seen.len(), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_share_of_the_probes_may_fail() {
    let half_open = HalfOpen::permits(5).success_ratio(0.6);
    for (statuses, state) in [
        (&[200, 500, 200, 500, 200][..], State::Closed),
        (&[200, 200, 200], State::Closed),
        (&[500, 500, 200, 200, 500], State::Open),
        (&[500, 500, 500], State::Open),
        (&[500, 200, 500, 200], State::HalfOpen),
        // Throttled is not recovered.
        (&[429, 429, 429], State::Open),
    ] {
        let (api, breaker) = watched(simple().half_open(half_open));
        api.recover().await;
        for status in statuses {
            api.answers(*status);
            assert_eq!(api.call().await, End::Answered(*status));
        }
        assert_eq!(breaker.state(), state, "{statuses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_thousand_callers_as_many_get_through_as_there_are_permits() {
    let (api, breaker) = watched(simple().half_open(HalfOpen::permits(3)));
    api.recover().await;
    api.hangs();
    let mut calls = Vec::new();
    for _ in 0..1000 {
        calls.push(api.begin().await);
    }
    assert_eq!(api.probe.futures(), 3);
    assert_eq!(breaker.snapshot().probes_in_flight, 3);

    api.release(200);
    let mut ends = Vec::new();
    for call in calls {
        ends.push(call.await.unwrap());
    }
    assert_eq!(ends.iter().filter(|end| **end == OK).count(), 3);
    assert_eq!(ends.iter().filter(|end| **end == PROBING).count(), 997);
    assert_eq!(breaker.state(), State::Closed);
}

// As above, between threads.
#[test]
fn a_thousand_threads_get_no_more_permits() {
    let breaker = CircuitBreakerLayer::new(Trip::consecutive(1))
        .open_for(Backoff::constant(Duration::ZERO).jitter(Jitter::None))
        .half_open(HalfOpen::permits(3))
        .handle();
    breaker.try_acquire().unwrap().record(Outcome::Failed);
    assert_eq!(breaker.state(), State::Open);

    let barrier = Barrier::new(1000);
    let permits = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..1000 {
            scope.spawn(|| {
                barrier.wait();
                permits.lock().unwrap().extend(breaker.try_acquire());
            });
        }
    });
    assert_eq!(permits.lock().unwrap().len(), 3);
}

// Hole 3: a probe that succeeded stays so, however long the next one takes to come.
#[tokio::test(start_paused = true)]
async fn rare_calls_close_it_as_well() {
    let window = Window::time(100 * MS);
    let (api, breaker) = watched(
        CircuitBreakerLayer::http()
            .trip(Trip::failure_rate(0.5).window(window).min_calls(3))
            .half_open(HalfOpen::permits(3).timeout(SECOND)),
    );
    api.fail().await;
    api.answers(200);
    for _ in 0..3 {
        // Longer than everything there is.
        pass(3600 * SECOND).await;
        assert_eq!(api.call().await, OK);
    }
    assert_eq!(breaker.state(), State::Closed);
}

// Hole 4: it does not wait for ever.
#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_has_failed() {
    let (api, breaker) = watched(simple().half_open(HalfOpen::permits(1).timeout(10 * SECOND)));
    api.recover().await;
    api.hangs();
    let hung = api.begin().await;
    pass(10 * SECOND - MS).await;
    assert_eq!(api.call().await, PROBING);
    pass(MS).await;
    assert_eq!(api.call().await, TRIPPED);
    pass(5 * SECOND).await;
    let probe = breaker.try_acquire().unwrap();

    // The one that hung comes back: too late to say anything.
    api.release(200);
    assert_eq!(hung.await.unwrap(), OK);
    assert_eq!((breaker.state(), breaker.snapshot().probes_in_flight), (State::HalfOpen, 1));
    probe.record(Outcome::Success);
    assert_eq!(breaker.state(), State::Closed);
}

// Hole 5: in either direction.
#[tokio::test(start_paused = true)]
async fn a_call_from_before_says_nothing_about_recovery() {
    for late in [200, 503] {
        let (api, breaker) = watched(simple());
        api.hangs();
        let early = api.begin().await;
        api.recover().await;
        let probe = breaker.try_acquire().unwrap();
        let before = breaker.snapshot();
        assert_eq!(before.state, State::HalfOpen);

        api.release(late);
        assert_eq!(early.await.unwrap(), End::Answered(late));
        assert_eq!(breaker.snapshot(), before);
        probe.record(Outcome::Success);
        assert_eq!(breaker.state(), State::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_dropped_leaves_its_permit() {
    let (api, breaker) = watched(simple());
    api.recover().await;
    api.hangs();
    let probe = api.begin().await;
    assert_eq!(api.call().await, PROBING);
    probe.abort();
    assert!(probe.await.unwrap_err().is_cancelled());
    assert_eq!(breaker.snapshot().probes_in_flight, 0);
    api.answers(200);
    assert_eq!(api.call().await, OK);
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_has_failed() {
    for panic in [Answer::PanicsInCall, Answer::PanicsInPoll] {
        let (api, breaker) = watched(simple());
        api.recover().await;
        api.does(panic);
        assert!(api.begin().await.await.unwrap_err().is_panic());
        assert_eq!(breaker.state(), State::Open);
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_slow_has_failed() {
    let (api, breaker) =
        watched(simple().trip(Trip::consecutive(3).or(Trip::slow_rate(SECOND, 0.5))));
    api.recover().await;
    api.hangs();
    let probe = api.begin().await;
    pass(SECOND).await;
    api.release(200);
    assert_eq!(probe.await.unwrap(), OK);
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn ramps_up() {
    const RAMP_UP: End = End::Refused(OpenReason::RampUp);
    let (api, breaker) = watched(simple().ramp_up(10 * SECOND));
    api.recover().await;
    api.answers(200);
    assert_eq!(api.call().await, OK);
    assert_eq!(breaker.state(), State::RampUp);

    let mut admitted = Vec::new();
    for _ in 0..10 {
        let mut count = 0;
        for _ in 0..100 {
            match api.call().await {
                OK => count += 1,
                end => assert_eq!(end, RAMP_UP),
            }
            pass(10 * MS).await;
        }
        admitted.push(count);
    }
    assert!(admitted.is_sorted(), "{admitted:?}");
    assert!((10..=20).contains(&admitted[0]), "{admitted:?}");
    assert!((90..100).contains(&admitted[9]), "{admitted:?}");
    assert_eq!(api.call().await, OK);
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn failures_end_a_ramp() {
    let (api, breaker) = watched(simple().ramp_up(10 * SECOND));
    api.recover().await;
    api.answers(200);
    api.call().await;
    assert_eq!(breaker.state(), State::RampUp);
    api.answers(500);
    let calls = api.probe.calls();
    for _ in 0..100 {
        api.call().await;
    }
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(api.probe.calls(), calls + 3);
}

// Each has its time: one of a moment ago has not failed because the first one was let in long ago.
#[tokio::test(start_paused = true)]
async fn a_young_probe_does_not_hang() {
    let (api, breaker) = watched(simple().half_open(HalfOpen::permits(3)));
    api.recover().await;
    api.answers(200);
    assert_eq!(api.call().await, OK);
    pass(9900 * MS).await;
    api.hangs();
    let young = api.begin().await;
    pass(100 * MS).await;
    let other = api.begin().await;
    api.release(200);
    assert_eq!((young.await.unwrap(), other.await.unwrap()), (OK, OK));
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn each_outage_begins_the_schedule_anew() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let schedule = schedule_fn(move |step: &Step| {
        log.lock().unwrap().push((step.retry, step.previous));
        5 * SECOND
    });
    let (api, breaker) = watched(simple().open_for(schedule));
    for _ in 0..2 {
        api.recover().await;
        assert_eq!(api.call().await, End::Answered(503));
        pass(5 * SECOND).await;
        api.answers(200);
        assert_eq!(api.call().await, OK);
        assert_eq!(breaker.state(), State::Closed);
    }
    let outage = [(1, Duration::ZERO), (2, 5 * SECOND)];
    assert_eq!(*seen.lock().unwrap(), [outage, outage].concat());
}

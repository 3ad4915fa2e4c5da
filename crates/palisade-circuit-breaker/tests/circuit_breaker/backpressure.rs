use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Waker},
    time::Duration,
};

use palisade_circuit_breaker::{HalfOpen, State};
use palisade_core::Outcome;
use palisade_testkit::{Pace, ProbePlan, probe_request};
use tokio::{
    task::{JoinHandle, yield_now},
    time::Instant,
};
use tower::{Service, ServiceExt};

use crate::api::{Api, End, MS, OK, SECOND, pass, simple, watched};

// A call that waits ends at some time: that of its task says when it was let in.
async fn waits<B: http_body::Body + Send + 'static>(api: &Api<B>) -> JoinHandle<(End, Instant)> {
    let call = api.begin().await;
    yield_now().await;
    tokio::spawn(async { (call.await.unwrap(), Instant::now()) })
}

/// Opens it. Nothing is refused, so the calls are counted.
async fn fail<B: http_body::Body + Send + 'static>(api: &Api<B>) {
    api.answers(503);
    for _ in 0..3 {
        assert_eq!(api.call().await, End::Answered(503));
    }
    api.answers(200);
}

#[tokio::test(start_paused = true)]
async fn waits_until_the_open_time_is_over() {
    let (api, breaker) = watched(simple().backpressure());
    fail(&api).await;
    assert_eq!(breaker.state(), State::Open);
    let start = Instant::now();
    assert_eq!(api.call().await, OK);
    assert_eq!(start.elapsed(), 5 * SECOND);
    assert_eq!(breaker.state(), State::Closed);
}

// Hole 9.
#[tokio::test(start_paused = true)]
async fn is_woken_by_every_change() {
    for change in ["reset", "disable", "observe"] {
        let (api, breaker) = watched(simple().backpressure());
        fail(&api).await;
        let start = Instant::now();
        let call = waits(&api).await;
        pass(50 * MS).await;
        // A change, and yet none for who waits.
        breaker.force_open();
        pass(50 * MS).await;
        assert!(!call.is_finished());
        match change {
            "reset" => breaker.reset(),
            "disable" => breaker.disable(),
            _ => breaker.observe_only(true),
        }
        assert_eq!(call.await.unwrap(), (OK, start + 100 * MS), "{change}");
    }
}

#[tokio::test(start_paused = true)]
async fn forced_open_it_waits_for_as_long_as_it_takes() {
    let (api, breaker) = watched(simple().backpressure());
    breaker.force_open();
    let call = waits(&api).await;
    pass(1_000_000 * SECOND).await;
    assert!(!call.is_finished());
    breaker.reset();
    assert_eq!(call.await.unwrap().0, OK);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_probe_goes_on_when_it_has_ended() {
    let layer = simple().backpressure();
    let api = Api::new(layer);
    fail(&api).await;
    pass(5 * SECOND).await;
    api.hangs();
    let probe = waits(&api).await;
    let others = [waits(&api).await, waits(&api).await];
    let start = Instant::now();
    pass(SECOND).await;
    assert_eq!(api.probe.futures(), 1);
    api.release(200);
    assert_eq!(probe.await.unwrap().0, OK);
    for other in others {
        assert_eq!(other.await.unwrap(), (OK, start + SECOND));
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_dropped_gives_its_permit_to_who_waits() {
    let layer = simple().backpressure();
    let api = Api::new(layer);
    fail(&api).await;
    pass(5 * SECOND).await;
    api.hangs();
    let probe = api.begin().await;
    yield_now().await;
    let other = waits(&api).await;
    assert_eq!(api.probe.futures(), 1);
    api.answers(200);
    let start = Instant::now();
    probe.abort();
    assert!(probe.await.unwrap_err().is_cancelled());
    assert_eq!(other.await.unwrap(), (OK, start));
}

#[tokio::test(start_paused = true)]
async fn who_is_ready_and_goes_leaves_the_permit() {
    let (api, breaker) = watched(simple().backpressure());
    fail(&api).await;
    pass(5 * SECOND).await;
    let mut ready = api.client.clone();
    ready.ready().await.unwrap();
    assert_eq!(breaker.snapshot().probes_in_flight, 1);
    let call = waits(&api).await;
    assert!(!call.is_finished());
    let start = Instant::now();
    drop(ready);
    assert_eq!(call.await.unwrap(), (OK, start));
}

#[tokio::test(start_paused = true)]
async fn a_call_counts_in_the_state_in_which_it_is_made() {
    let (api, breaker) = watched(simple().backpressure());
    let mut client = api.client.clone();
    client.ready().await.unwrap();
    breaker.force_open();
    breaker.reset();
    api.answers(503);
    client.call(probe_request(1)).await.unwrap();
    assert_eq!(breaker.snapshot().failures_in_row, 1);
}

#[test]
fn without_a_timer_it_panics_and_goes_on_when_it_is_closed() {
    let (api, breaker) = watched(simple().backpressure());
    for _ in 0..3 {
        breaker.try_acquire().unwrap().record(Outcome::Failed);
    }
    let mut client = api.client.clone();
    let mut poll = || client.poll_ready(&mut Context::from_waker(Waker::noop()));
    for _ in 0..2 {
        assert!(catch_unwind(AssertUnwindSafe(&mut poll)).is_err());
    }
    breaker.reset();
    assert!(poll().is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_let_in_is_made() {
    let (api, breaker) = watched(simple().backpressure());
    let mut client = api.client.clone();
    client.ready().await.unwrap();
    breaker.force_open();
    client.call(probe_request(1)).await.unwrap();
    assert_eq!((api.probe.calls(), api.probe.offences()), (1, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_nobody_uses_does_not_hold_up_the_others() {
    let layer = simple().half_open(HalfOpen::permits(1).timeout(2 * SECOND)).backpressure();
    let api = Api::new(layer);
    fail(&api).await;
    pass(5 * SECOND).await;
    let mut idle = api.client.clone();
    idle.ready().await.unwrap();
    // The breaker opens again, and then lets another in.
    let start = Instant::now();
    assert_eq!(api.call().await, OK);
    assert_eq!(start.elapsed(), 7 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn ramping_up_it_thins_calls_out() {
    let (api, breaker) = watched(simple().ramp_up(10 * SECOND).backpressure());
    fail(&api).await;
    assert_eq!(api.call().await, OK);
    assert_eq!(breaker.state(), State::RampUp);
    let start = Instant::now();
    for _ in 0..20 {
        assert_eq!(api.call().await, OK);
    }
    let took = start.elapsed();
    assert!((SECOND..10 * SECOND).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_error_of_readiness_counts() {
    let (api, breaker) = watched(simple().backpressure());
    api.probe.set(ProbePlan { ready_fails: true, ..ProbePlan::default() });
    for _ in 0..3 {
        assert_eq!(api.call().await, End::Failed);
    }
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn the_time_until_it_is_called_is_not_that_of_the_call() {
    use palisade_circuit_breaker::{Trip, Window};

    let slow = Trip::slow_rate(SECOND, 0.5).window(Window::count(1));
    let (api, breaker) = watched(simple().trip(slow).backpressure());
    let mut client = api.client.clone();
    client.ready().await.unwrap();
    pass(SECOND).await;
    client.call(probe_request(1)).await.unwrap();
    assert_eq!((breaker.state(), breaker.snapshot().calls), (State::Closed, 1));
}

#[tokio::test(start_paused = true)]
async fn waits_for_the_inner_service_as_well() {
    let layer = simple().backpressure();
    let api = Api::new(layer);
    api.probe.set(ProbePlan { ready: Pace::Held, ..ProbePlan::default() });
    let call = waits(&api).await;
    pass(Duration::from_secs(60)).await;
    assert!(!call.is_finished());
    api.probe.release();
    assert_eq!(call.await.unwrap().0, OK);
}

// Nobody was told that these are ready.
#[tokio::test(start_paused = true)]
async fn who_was_not_ready_yet_waits_when_it_opens() {
    let (api, breaker) = watched(simple().backpressure());
    api.probe.set(ProbePlan { ready: Pace::Held, ..ProbePlan::default() });
    let mut calls = Vec::new();
    for _ in 0..20 {
        calls.push(waits(&api).await);
    }
    breaker.force_open();
    api.probe.release();
    pass(SECOND).await;
    assert_eq!(api.probe.calls(), 0);
    breaker.reset();
    for call in calls {
        assert_eq!(call.await.unwrap().0, OK);
    }
}

// However long the ramp is.
#[tokio::test(start_paused = true)]
async fn ramping_up_it_admits_its_share() {
    let (api, breaker) = watched(simple().ramp_up(600 * SECOND).backpressure());
    fail(&api).await;
    assert_eq!(api.call().await, OK);
    assert_eq!(breaker.state(), State::RampUp);
    let (start, mut calls) = (Instant::now(), 0);
    while start.elapsed() < 60 * SECOND {
        assert_eq!(api.call().await, OK);
        pass(10 * MS).await;
        calls += 1;
    }
    // A tenth of 100 a second, and a little more with time.
    assert!((500..1500).contains(&calls), "{calls}");
}

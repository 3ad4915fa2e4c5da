use palisade_circuit_breaker::{CircuitBreakerLayer, State, Trip, Window};
use palisade_core::{Outcome, classify_fn};
use palisade_testkit::{Answer, Pace, ProbePlan};

use crate::api::{Api, End, MS, OK, SECOND, TRIPPED, pass, simple, watched};

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_open_it() {
    let (api, breaker) = watched(simple());
    for status in [503, 500, 200, 503, 404, 503, 503] {
        api.answers(status);
        assert_eq!(api.call().await, End::Answered(status));
        assert_eq!(breaker.state(), State::Closed);
    }
    api.does(Answer::Fails);
    assert_eq!(api.call().await, End::Failed);
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(api.call().await, TRIPPED);
    assert_eq!(api.probe.calls(), 8);
}

// Hole 1: a window forgets.
#[tokio::test(start_paused = true)]
async fn an_outage_is_found_out_however_long_all_went_well_before() {
    for successes in [100, 100_000] {
        let trip = Trip::failure_rate(0.5).window(Window::count(100));
        let api = Api::new(CircuitBreakerLayer::http().trip(trip));
        for _ in 0..successes {
            api.call().await;
        }
        assert_eq!(api.fail().await, 50);
    }
}

// Hole 2: a window need not be full.
#[tokio::test(start_paused = true)]
async fn a_rate_is_judged_from_the_least_number_of_calls_on() {
    let window = Window::count(100);
    let least = Trip::failure_rate(0.5).window(window).min_calls(10);
    let api = Api::new(CircuitBreakerLayer::http().trip(least));
    assert_eq!(api.fail().await, 10);
    let usual = Trip::failure_rate(0.5).window(window);
    let api = Api::new(CircuitBreakerLayer::http().trip(usual));
    assert_eq!(api.fail().await, 20);
}

#[tokio::test(start_paused = true)]
async fn a_window_of_time_forgets_by_the_bucket() {
    let window = Window::time(10 * SECOND).buckets(10);
    let trip = Trip::failure_rate(0.5).window(window).min_calls(4);
    let (api, breaker) = watched(CircuitBreakerLayer::http().trip(trip));
    api.answers(500);
    for _ in 0..3 {
        api.call().await;
        pass(SECOND).await;
    }
    // The first of the three leaves.
    pass(7 * SECOND).await;
    api.call().await;
    assert_eq!(breaker.snapshot().failures, 3);
    api.call().await;
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_success_opens_nothing() {
    let trip = Trip::failure_rate(0.5).window(Window::count(20)).min_calls(10);
    let (api, breaker) = watched(CircuitBreakerLayer::http().trip(trip));
    api.answers(500);
    for _ in 0..9 {
        api.call().await;
    }
    api.answers(200);
    for _ in 0..5 {
        assert_eq!(api.call().await, OK);
    }
    assert_eq!(breaker.snapshot().failure_rate(), Some(9.0 / 14.0));
    assert_eq!(breaker.state(), State::Closed);
    api.answers(500);
    api.call().await;
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn what_is_throttled_counts_for_the_rate_alone() {
    let (api, breaker) = watched(simple());
    // Neither a failure in the row, nor the end of it.
    for status in [500, 500, 429, 429, 429] {
        api.answers(status);
        api.call().await;
    }
    assert_eq!(breaker.snapshot().failures_in_row, 2);
    assert_eq!(breaker.state(), State::Closed);

    let rate = Trip::failure_rate(1.0).window(Window::count(10));
    let (api, breaker) = watched(CircuitBreakerLayer::http().trip(Trip::consecutive(3).or(rate)));
    api.answers(429);
    for _ in 0..10 {
        assert_eq!(breaker.state(), State::Closed);
        api.call().await;
    }
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn outcomes_are_what_the_user_says() {
    let outcomes = classify_fn(|result: Result<&http::Response<_>, &_>| match result {
        Ok(response) if response.status() == 418 => Outcome::Failed,
        Ok(response) if response.status() == 500 => Outcome::Ignored,
        _ => Outcome::Success,
    });
    let (api, breaker) = watched(simple().classify(outcomes));
    for status in [418, 500, 418, 500] {
        api.answers(status);
        api.call().await;
    }
    assert_eq!(breaker.snapshot().failures_in_row, 2);
    api.answers(418);
    api.call().await;
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn slow_calls_open_it_however_they_end() {
    let trip = Trip::slow_rate(2 * SECOND, 0.5).window(Window::count(4)).min_calls(4);
    let (api, breaker) = watched(CircuitBreakerLayer::http().trip(trip));
    for took in [SECOND, 2 * SECOND, 2 * SECOND - MS, 3 * SECOND] {
        assert_eq!(breaker.state(), State::Closed);
        api.hangs();
        let call = api.begin().await;
        pass(took).await;
        api.release(200);
        assert_eq!(call.await.unwrap(), OK);
    }
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn any_of_several_reasons_will_do() {
    let trip = || {
        Trip::consecutive(5)
            .or(Trip::failure_rate(0.5).window(Window::count(10)))
            .or(Trip::slow_rate(SECOND, 1.0))
    };
    let row = Api::new(CircuitBreakerLayer::http().trip(trip()));
    assert_eq!(row.fail().await, 5);

    let rate = Api::new(CircuitBreakerLayer::http().trip(trip()));
    for number in 0..9 {
        rate.answers(if number % 2 == 0 { 500 } else { 200 });
        assert_ne!(rate.call().await, TRIPPED);
    }
    assert_eq!(rate.fail().await, 1);

    let layer = CircuitBreakerLayer::http().trip(trip());
    let breaker = layer.handle();
    let slow = Api::new(layer);
    slow.probe.set(ProbePlan { pace: Pace::Held, ..ProbePlan::default() });
    let mut calls = Vec::new();
    for _ in 0..10 {
        calls.push(slow.begin().await);
    }
    pass(SECOND).await;
    slow.release(200);
    for call in calls {
        assert_eq!(call.await.unwrap(), OK);
    }
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_is_full_does_not_hide_an_outage() {
    let trip = Trip::failure_rate(0.5).window(Window::time(3600 * SECOND)).min_calls(20);
    let breaker = CircuitBreakerLayer::new(trip).handle();
    for _ in 0..1_048_575 {
        breaker.try_acquire().unwrap().record(Outcome::Success);
    }
    let failures = (0..)
        .take_while(|_| breaker.try_acquire().map(|permit| permit.record(Outcome::Failed)).is_ok());
    assert!(failures.count() < 1_100_000);
}

#[tokio::test(start_paused = true)]
async fn what_never_happens_opens_nothing() {
    let trip = Trip::slow_rate(SECOND, 0.0).window(Window::count(10)).min_calls(1);
    let (api, breaker) = watched(CircuitBreakerLayer::http().trip(trip));
    api.answers(500);
    api.call().await;
    assert_eq!(breaker.state(), State::Closed);
}

use std::time::Duration;

use palisade_circuit_breaker::{Backoff, CircuitBreakerLayer, Jitter, State, Trip, Window};

use crate::api::{End, OK, SECOND, TRIPPED, pass, watched};

fn timed() -> Trip {
    Trip::failure_rate(0.5).window(Window::time(10 * SECOND)).min_calls(10)
}

// tokio's clock is handed on as it is: going back is held against the rules themselves, in
// `breaker/reference.rs`.
#[tokio::test(start_paused = true)]
async fn a_clock_that_stands_still_neither_opens_nor_wedges_it() {
    let (api, breaker) = watched(CircuitBreakerLayer::http().trip(timed()));
    for _ in 0..1000 {
        assert_eq!(api.call().await, OK);
    }
    assert_eq!(breaker.snapshot().calls, 1000);
    assert_eq!(api.fail().await, 1000);
    assert_eq!(api.call().await, TRIPPED);
    pass(60 * SECOND).await;
    api.answers(200);
    for _ in 0..3 {
        assert_eq!(api.call().await, OK);
    }
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_long_rest_leaves_nothing_behind() {
    // As many buckets as make a small counter go round.
    for rest in [10 * SECOND, 65_536 * SECOND, 10_000_000 * SECOND, Duration::from_secs(1 << 32)] {
        let (api, breaker) = watched(CircuitBreakerLayer::http().trip(timed()));
        api.answers(500);
        for _ in 0..9 {
            api.call().await;
        }
        pass(rest).await;
        assert_eq!(breaker.snapshot().calls, 0, "{rest:?}");
        assert_eq!(api.call().await, End::Answered(500));
        assert_eq!(breaker.state(), State::Closed, "{rest:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_time_without_end_is_very_long() {
    let open_for = Backoff::constant(Duration::MAX).jitter(Jitter::None);
    let (api, breaker) =
        watched(CircuitBreakerLayer::http().trip(Trip::consecutive(1)).open_for(open_for));
    api.fail().await;
    assert!(Duration::from_secs(30 * 365 * 86_400) < breaker.snapshot().remaining.unwrap());
    pass(1_000_000 * SECOND).await;
    assert_eq!(api.call().await, TRIPPED);
}

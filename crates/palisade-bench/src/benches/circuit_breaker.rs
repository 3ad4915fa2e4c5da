//! Every breaker opens when half of the calls fail, of the last hundred or of the last 10 seconds.
//! Who can be told how many calls it takes at the least is told palisade's number.

pub(super) mod closed;
pub(super) mod keyed;
pub(super) mod memory;
pub(super) mod outage;
pub(super) mod shared;

use std::{convert::Infallible, time::Duration};

use failsafe::failure_policy::{SuccessRateOverTimeWindow, success_rate_over_time_window};
use http::Response;
use palisade_circuit_breaker::{CircuitBreakerLayer, Trip, Window};
use palisade_core::HttpClassify;
use recloser::{Recloser, RecloserBuilder};
use tower_resilience_circuitbreaker::{
    CircuitBreakerConfigBuilder, FailureClassifier, SlidingWindowType,
};

use crate::{inner::Body, subjects::tower_resilience};

const RATE: f64 = 0.5;
const CALLS: u32 = 100;
const PERIOD: Duration = Duration::from_secs(10);

/// palisade's default.
const MIN_CALLS: u32 = 20;

/// Longer than any bench takes.
const OPEN_FOR: Duration = Duration::from_secs(3600);

type PalisadeLayer = CircuitBreakerLayer<HttpClassify>;

fn palisade_by_count() -> PalisadeLayer {
    CircuitBreakerLayer::http().trip(Trip::failure_rate(RATE).window(Window::count(CALLS)))
}

fn palisade_by_time() -> PalisadeLayer {
    CircuitBreakerLayer::http().trip(Trip::failure_rate(RATE).window(Window::time(PERIOD)))
}

/// It judges when the window is full, whatever the least number of calls.
fn resilience_by_count()
-> CircuitBreakerConfigBuilder<impl FailureClassifier<Response<Body>, Infallible>> {
    tower_resilience::circuit_breaker()
        .failure_rate_threshold(RATE)
        .sliding_window_size(CALLS as usize)
        .minimum_number_of_calls(MIN_CALLS as usize)
        .wait_duration_in_open(OPEN_FOR)
}

/// It has no buckets, but a log.
fn resilience_by_time()
-> CircuitBreakerConfigBuilder<impl FailureClassifier<Response<Body>, Infallible>> {
    resilience_by_count()
        .sliding_window_type(SlidingWindowType::TimeBased)
        .sliding_window_duration(PERIOD)
}

/// It judges when the window is full, and has none by time.
fn recloser_by_count() -> RecloserBuilder {
    Recloser::custom().error_rate(RATE as f32).closed_len(CALLS as usize).open_wait(OPEN_FOR)
}

/// It has no window by count. The rate over a time is an average that forgets by and by, and the
/// least number of calls is counted in 5 buckets.
fn failsafe_by_time() -> SuccessRateOverTimeWindow<failsafe::backoff::Constant> {
    let backoff = failsafe::backoff::constant(OPEN_FOR);
    success_rate_over_time_window(1.0 - RATE, MIN_CALLS, PERIOD, backoff)
}

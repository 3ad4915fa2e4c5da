use std::{convert::Infallible, time::Duration};

use http::{Request, Response};
use tower_resilience_circuitbreaker::{
    CircuitBreakerConfigBuilder, CircuitBreakerLayer, FailureClassifier,
};
use tower_resilience_retry::RetryLayer;

use super::is_idempotent;

/// `tower-resilience-retry` for idempotent requests and answers of 500 and above.
///
/// It decides about the request by the number of attempts, and clones it whatever that number is.
pub(crate) fn retry<B, ResB, E>(
    attempts: usize,
    backoff: Duration,
) -> RetryLayer<Request<B>, Response<ResB>, E>
where
    B: 'static,
    ResB: 'static,
    E: 'static,
{
    RetryLayer::builder()
        .max_attempts_fn(move |request: &Request<B>| match is_idempotent(request.method()) {
            true => attempts,
            false => 1,
        })
        .fixed_backoff(backoff)
        .retry_on_response(|response: &Response<ResB>| response.status().is_server_error())
        .build()
}

/// `tower-resilience-circuitbreaker` for answers of 500 and above, half of which open it.
pub(crate) fn circuit_breaker<ResB: 'static>()
-> CircuitBreakerConfigBuilder<impl FailureClassifier<Response<ResB>, Infallible>> {
    CircuitBreakerLayer::builder()
        .failure_rate_threshold(0.5)
        .classify_response(|response: &Response<ResB>| response.status().is_server_error())
}

use std::{fmt, time::Duration};

use http::{Request, Response};
use tower::ServiceBuilder;
use tower_resilience_bulkhead::BulkheadLayer;
use tower_resilience_circuitbreaker::{
    CircuitBreakerConfigBuilder, CircuitBreakerLayer, FailureClassifier,
};
use tower_resilience_ratelimiter::RateLimiterLayer;
use tower_resilience_retry::RetryLayer;
use tower_resilience_timelimiter::TimeLimiterLayer;
use tower_service::Service;

use super::is_idempotent;
use crate::inner::Body;

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

/// `tower-resilience-circuitbreaker` for errors and answers of 500 and above, half of which open it.
pub(crate) fn circuit_breaker<ResB: 'static, E: 'static>()
-> CircuitBreakerConfigBuilder<impl FailureClassifier<Response<ResB>, E>> {
    CircuitBreakerLayer::builder().failure_rate_threshold(0.5).failure_classifier(
        |result: &Result<Response<ResB>, E>| match result {
            Ok(response) => response.status().is_server_error(),
            Err(_) => true,
        },
    )
}

/// What palisade's client has of it, but for the cache: `tower-resilience-cache` needs answers that can be
/// cloned, and so are whole. None of the layers refuses anything.
pub(crate) fn five<S, ResB>(
    attempts: u32,
    backoff: Duration,
    inner: S,
) -> impl Service<Request<Body>, Response = Response<ResB>, Error: fmt::Debug, Future: Send> + Clone + Send
where
    S: Service<Request<Body>, Response = Response<ResB>, Error: fmt::Debug + Send, Future: Send>
        + Clone
        + Send
        + 'static,
    ResB: Send + 'static,
{
    let rate_limit = RateLimiterLayer::builder().limit_for_period(1_000_000_000);
    let bulkhead = BulkheadLayer::builder().max_concurrent_calls(100);
    ServiceBuilder::new()
        .layer(retry(attempts as usize, backoff))
        .layer(circuit_breaker().build().expect("a valid breaker"))
        .layer(rate_limit.build().expect("a valid limit"))
        .layer(bulkhead.build().expect("a valid bulkhead"))
        .layer(TimeLimiterLayer::builder().timeout_duration(Duration::from_secs(30)).build())
        .service(inner)
}

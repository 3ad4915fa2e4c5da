use std::time::Duration;

use reqwest_retry::{Jitter, RetryTransientMiddleware, policies::ExponentialBackoff};

/// `reqwest-retry`.
///
/// It sits on nothing but `reqwest`, so what it costs over a service in the same process cannot be
/// asked.
pub(crate) fn middleware(
    attempts: u32,
    backoff: Duration,
) -> RetryTransientMiddleware<ExponentialBackoff> {
    let policy = ExponentialBackoff::builder()
        .retry_bounds(backoff, backoff)
        .jitter(Jitter::None)
        .build_with_max_retries(attempts - 1);
    RetryTransientMiddleware::new_with_policy(policy)
}

use std::time::Duration;

use reqwest::Client;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use reqwest_retry::{Jitter, RetryTransientMiddleware, policies::ExponentialBackoff};

/// `reqwest-retry` on a client of its own.
///
/// It sits on nothing but `reqwest`, so what it costs over a service in the same process cannot be
/// asked.
pub(crate) fn client(attempts: u32, backoff: Duration) -> ClientWithMiddleware {
    let policy = ExponentialBackoff::builder()
        .retry_bounds(backoff, backoff)
        .jitter(Jitter::None)
        .build_with_max_retries(attempts - 1);

    let client = Client::builder()
        .no_proxy()
        .build()
        .expect("a client without TLS needs nothing from the system");
    ClientBuilder::new(client).with(RetryTransientMiddleware::new_with_policy(policy)).build()
}

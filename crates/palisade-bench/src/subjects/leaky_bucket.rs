use std::{convert::Infallible, time::Duration};

use http::{Request, Response};
use leaky_bucket::RateLimiter;
use tower::service_fn;
use tower_service::Service;

use super::Refused;
use crate::inner::Body;

/// `leaky-bucket` in front of the calls of a service. It is no layer.
pub(crate) fn service<S>(
    mut inner: S,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Refused>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let most = 1 << 40;
    let limiter = RateLimiter::builder()
        .max(most)
        .initial(most)
        .refill(most)
        .interval(Duration::from_secs(1))
        .build();
    service_fn(move |request| {
        let called = limiter.try_acquire(1).then(|| inner.call(request));
        async {
            match called {
                Some(future) => {
                    let Ok(response) = future.await;
                    Ok(response)
                }
                None => Err(Refused),
            }
        }
    })
}

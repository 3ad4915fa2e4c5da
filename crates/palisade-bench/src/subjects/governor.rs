use std::{convert::Infallible, num::NonZeroU32, sync::Arc};

use governor::{Quota, RateLimiter};
use http::{Request, Response};
use tower::service_fn;
use tower_service::Service;

use super::Refused;
use crate::inner::Body;

/// `governor` in front of the calls of a service. It is no layer.
pub(crate) fn service<S>(
    per_second: u32,
    mut inner: S,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Refused>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let quota = Quota::per_second(NonZeroU32::new(per_second).expect("not zero"));
    let limiter = Arc::new(RateLimiter::direct(quota));
    service_fn(move |request| {
        let called = limiter.check().map(|()| inner.call(request));
        async {
            match called {
                Ok(future) => {
                    let Ok(response) = future.await;
                    Ok(response)
                }
                Err(_) => Err(Refused),
            }
        }
    })
}

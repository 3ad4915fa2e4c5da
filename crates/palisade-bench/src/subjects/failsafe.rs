use std::convert::Infallible;

use failsafe::{Config, Error, FailurePolicy, futures::CircuitBreaker as _};
use http::{Request, Response};
use tower::service_fn;
use tower_service::Service;

use super::{Refused, fail_by_status};
use crate::inner::Body;

/// `failsafe` around the calls of a service, for answers of 500 and above.
///
/// It is no layer, and knows errors alone: an answer that counts goes through it as one. It is asked
/// when the future is polled, and so is the service.
pub(crate) fn service<P, S>(
    policy: P,
    inner: S,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Refused>
where
    P: FailurePolicy + Send + Sync,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    let machine = Config::new().failure_policy(policy).build();
    service_fn(move |request| {
        let result = machine.call(fail_by_status(inner.clone(), request));
        async {
            match result.await {
                Ok(response) | Err(Error::Inner(response)) => Ok(response),
                Err(Error::Rejected) => Err(Refused),
            }
        }
    })
}

use std::convert::Infallible;

use http::{Request, Response};
use recloser::{AsyncRecloser, Error, RecloserBuilder};
use tower::service_fn;
use tower_service::Service;

use super::{Refused, fail_by_status};
use crate::inner::Body;

/// `recloser` around the calls of a service, for answers of 500 and above.
///
/// It is no layer, and knows errors alone: an answer that counts goes through it as one. It is asked
/// when the future is polled, and so is the service.
pub(crate) fn service<S>(
    recloser: RecloserBuilder,
    inner: S,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Refused, Future: Send> + Clone + Send
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send,
{
    let recloser = AsyncRecloser::from(recloser.build());
    service_fn(move |request| {
        let result = recloser.call(fail_by_status(inner.clone(), request));
        async {
            match result.await {
                Ok(response) | Err(Error::Inner(response)) => Ok(response),
                Err(Error::Rejected) => Err(Refused),
            }
        }
    })
}

//! What each peer needs to do palisade's work, set up as its documentation shows. palisade needs
//! nothing.

pub(crate) mod axum_prometheus;
pub(crate) mod failsafe;
pub(crate) mod governor;
pub(crate) mod http_cache;
pub(crate) mod huskarl;
pub(crate) mod leaky_bucket;
pub(crate) mod opentelemetry;
pub(crate) mod recloser;
pub(crate) mod reqwest;
pub(crate) mod reqwest_retry;
pub(crate) mod tower;
pub(crate) mod tower_http_cache;
pub(crate) mod tower_resilience;

use std::convert::Infallible;

use http::{Method, Request, Response};
use tower_service::Service;

/// A breaker that is no layer has not let a call in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused;

/// RFC 9110, section 9.2.2: for the peers who leave it to their users to know.
fn is_idempotent(method: &Method) -> bool {
    method.is_safe() || matches!(*method, Method::PUT | Method::DELETE)
}

/// Calls a service that is always ready, and fails with an answer of 500 or above.
async fn fail_by_status<S, B, ResB>(
    mut service: S,
    request: Request<B>,
) -> Result<Response<ResB>, Response<ResB>>
where
    S: Service<Request<B>, Response = Response<ResB>, Error = Infallible>,
{
    let Ok(response) = service.call(request).await;
    match response.status().is_server_error() {
        true => Err(response),
        false => Ok(response),
    }
}

//! How the client is put together.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use palisade::{
    circuit_breaker::CircuitBreakerLayer,
    core::{BoxError, ByEndpoint},
    metrics::{Registry, ResponseBody},
    retry::{Backoff, RetryLayer},
};
use tower::{ServiceBuilder, util::BoxCloneService};

pub(crate) type ApiClient =
    BoxCloneService<Request<Full<Bytes>>, Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError>;

/// Calls are counted outside of retry, attempts inside; retry and breaker tell the registry what
/// they do.
pub(crate) fn build(metrics: &Registry) -> ApiClient {
    let http = Client::builder(TokioExecutor::new()).build_http();
    let backoff = Backoff::exponential(Duration::from_millis(5));

    ServiceBuilder::new()
        .boxed_clone()
        .map_response(|response: Response<ResponseBody<ResponseBody<Incoming>>>| {
            response.map(|body| body.map_err(Into::into).boxed_unsync())
        })
        .layer(metrics.calls())
        .layer(RetryLayer::http().backoff(backoff).observer(metrics.observer()))
        .layer(CircuitBreakerLayer::http().keyed(ByEndpoint).observer(metrics.observer()))
        .layer(metrics.attempts())
        .service(http)
}

//! How the two clients are put together.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use palisade::{
    circuit_breaker::{Backoff, CircuitBreakerLayer, HalfOpen, Jitter, Trip},
    core::{BoxError, Observer},
};
use tower::{ServiceBuilder, util::BoxCloneService};

pub(crate) type ApiClient = BoxCloneService<Request<Full<Bytes>>, Response<Incoming>, BoxError>;

/// hyper's client as it comes.
pub(crate) fn bare() -> ApiClient {
    let http = Client::builder(TokioExecutor::new()).build_http();

    ServiceBuilder::new().boxed_clone().map_err(BoxError::from).service(http)
}

/// The same client within a circuit breaker.
pub(crate) fn with_breaker(observer: Arc<dyn Observer>) -> ApiClient {
    let http = Client::builder(TokioExecutor::new()).build_http();

    let breaker = CircuitBreakerLayer::http()
        .trip(Trip::consecutive(5))
        // Short, as nobody watches an example for a minute: the default begins with 5 seconds, and
        // has jitter, so that many clients do not come back at once.
        .open_for(Backoff::exponential(Duration::from_millis(300)).jitter(Jitter::None))
        .half_open(HalfOpen::permits(3))
        .ramp_up(Duration::from_secs(1))
        .observer(observer);

    ServiceBuilder::new().boxed_clone().layer(breaker).service(http)
}

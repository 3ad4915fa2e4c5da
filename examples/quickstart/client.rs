//! How the two clients are put together.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use palisade::{
    core::{BoxError, Observer},
    retry::{RetryLayer, TokenBudget},
};
use tower::{ServiceBuilder, util::BoxCloneService};

pub(crate) type ApiClient = BoxCloneService<Request<Full<Bytes>>, Response<Incoming>, BoxError>;

/// hyper's client as it comes, but for a timeout.
pub(crate) fn bare() -> ApiClient {
    let http = Client::builder(TokioExecutor::new()).build_http();

    ServiceBuilder::new().boxed_clone().timeout(Duration::from_secs(2)).service(http)
}

/// The same client within a retry layer.
pub(crate) fn with_retry(observer: Arc<dyn Observer>) -> ApiClient {
    let http = Client::builder(TokioExecutor::new()).build_http();

    let retry = RetryLayer::http()
        .attempt_timeout(Duration::from_secs(2))
        .deadline(Duration::from_secs(10))
        // Three calls in ten fail here, and the default budget is for two.
        .budget(TokenBudget::new(0.5, 100))
        .observer(observer);

    ServiceBuilder::new()
        .boxed_clone()
        .layer(retry)
        // The timeout of an attempt is an error that hyper's client does not have.
        .map_err(BoxError::from)
        .service(http)
}

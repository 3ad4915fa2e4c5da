use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use http::{
    HeaderValue, Request, Response,
    header::{ACCEPT, CONTENT_TYPE},
};
use tower_service::Service;

use crate::{Format, Registry};

/// Answers every request with what the registry has counted, as text that
/// Prometheus reads.
///
/// Mount it where Prometheus looks, as `/metrics` of a router. It answers in
/// OpenMetrics to who accepts that.
///
/// ```
/// use http::Request;
/// use palisade_metrics::Registry;
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), std::convert::Infallible> {
/// let metrics = Registry::new();
/// let response = metrics.scrape().oneshot(Request::new(())).await?;
/// assert!(response.body().contains("# TYPE http_client_request_duration_seconds histogram"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Scrape {
    registry: Registry,
}

impl Registry {
    /// A service that answers with what was counted.
    pub fn scrape(&self) -> Scrape {
        Scrape { registry: self.clone() }
    }
}

impl<B> Service<Request<B>> for Scrape {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
        let format = accept.map_or(Format::Prometheus, Format::accepted);
        let mut response = Response::new(self.registry.snapshot().render(format));
        let content_type = HeaderValue::from_static(format.content_type());
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        ready(Ok(response))
    }
}

use std::{
    fmt,
    task::{Context, Poll},
};

use http::{HeaderMap, Request, Response, Uri};
use tower_service::Service;

use crate::Body;

/// Sends requests to an API by a service: its base URL, and what all requests
/// have in common. Clones share what the service shares.
///
/// It is a [`Service`] itself, of whole requests that it passes on as they are.
#[derive(Clone)]
pub struct ClientOf<S> {
    pub(crate) service: S,
    pub(crate) base: Option<Uri>,
    pub(crate) headers: HeaderMap,
}

impl<S> ClientOf<S> {
    /// A client over a service.
    pub fn from_service(service: S) -> Self {
        Self { service, base: None, headers: HeaderMap::new() }
    }
}

impl<S, R> Service<Request<Body>> for ClientOf<S>
where
    S: Service<Request<Body>, Response = Response<R>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        self.service.call(request)
    }
}

impl<S> fmt::Debug for ClientOf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base).finish_non_exhaustive()
    }
}

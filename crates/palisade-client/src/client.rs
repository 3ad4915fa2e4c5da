use std::{
    fmt,
    task::{Context, Poll},
};

use http::{HeaderMap, Request, Response, Uri};
use tower_service::Service;

use crate::{Body, BoxedService, ClientBuilder, InvalidClient};

/// A client for an API that survives what real APIs do: the layers of this workspace
/// as one service, over connections of its own.
///
/// Clones are cheap, and share connections, breakers, limits and budgets.
pub type Client = ClientOf<BoxedService>;

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

    /// What paths of requests follow on, if there is anything.
    pub fn base_url(&self) -> Option<&Uri> {
        self.base.as_ref()
    }

    /// The fields that all requests have which do not set them themselves.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

impl Client {
    /// A client with the [defaults](crate#defaults), for an API at a base URL.
    ///
    /// # Errors
    ///
    /// If it is no base URL.
    pub fn new(base_url: impl Into<String>) -> Result<Self, InvalidClient> {
        Self::builder().base_url(base_url).build()
    }

    /// Sets what is to be other than [by default](crate#defaults).
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
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

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use palisade_core::{Endpoint, Origins, is_secret};
use tower_service::Service;

use crate::{
    Body, Error, RequestBuilder, Route, call, error::Fact, invalid::Invalid, response::Rules, url,
};

/// Sends requests to an API by a service: its base URL, and what all requests
/// have in common. Clones share what the service shares.
///
/// It is a [`Service`] itself, of whole requests that it passes on as they are.
#[derive(Clone)]
#[must_use]
pub struct ClientOf<S> {
    pub(crate) service: S,
    pub(crate) settings: Arc<Settings>,
}

/// What the requests of a client have in common.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    pub(crate) base: Option<Uri>,
    pub(crate) origins: Option<Origins>,
    pub(crate) headers: HeaderMap,
    pub(crate) rules: Rules,
}

impl<S> ClientOf<S> {
    /// A client over a service.
    pub fn from_service(service: S) -> Self {
        Self { service, settings: Arc::default() }
    }

    /// Sets the URL that routes are joined to; its path is kept. Defaults to
    /// none, so that requests need whole URLs.
    ///
    /// # Panics
    ///
    /// If it is no URL of `http` or `https`, or has credentials, a query or a
    /// fragment.
    #[track_caller]
    pub fn base_url(self, url: &str) -> Self {
        match self.try_base_url(url) {
            Ok(client) => client,
            Err(error) => panic!("{error}"),
        }
    }

    /// Sets the URL that routes are joined to, if it is one.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it, as [`base_url`](Self::base_url) names it.
    pub fn try_base_url(mut self, url: &str) -> Result<Self, Error> {
        let invalid = |invalid| Error::new(Fact::Request(invalid), None, None);
        let base = url::check_base(url).map_err(invalid)?;
        Arc::make_mut(&mut self.settings).base = Some(base);
        Ok(self)
    }

    /// Sets which other origins than that of the base URL whole URLs may
    /// lead to. Defaults to none.
    pub fn origins(mut self, origins: Origins) -> Self {
        Arc::make_mut(&mut self.settings).origins = Some(origins);
        self
    }

    /// Sets a header field of all requests that have none of this name.
    /// Defaults to none.
    ///
    /// If its value is [sensitive](HeaderValue::set_sensitive), or its name says that
    /// it is a [secret], it goes to the origin of the base URL alone, if there is one.
    ///
    /// [secret]: is_secret
    pub fn default_header(mut self, name: HeaderName, mut value: HeaderValue) -> Self {
        if is_secret(&name) {
            value.set_sensitive(true);
        }
        Arc::make_mut(&mut self.settings).headers.insert(name, value);
        self
    }

    /// Sets how many bytes of a body are collected before it is an error,
    /// counted as decoded. Defaults to 16 MiB.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        Arc::make_mut(&mut self.settings).rules.limit = bytes;
        self
    }

    /// Takes bodies for JSON whatever their `Content-Type` says. Defaults to
    /// those that say so, or nothing.
    pub fn lenient(mut self) -> Self {
        Arc::make_mut(&mut self.settings).rules.lenient = true;
        self
    }

    /// The service below.
    pub fn service(&self) -> &S {
        &self.service
    }
}

impl<S: Clone> ClientOf<S> {
    /// Begins a `GET` request.
    pub fn get(&self, route: impl Into<Route>) -> RequestBuilder<S> {
        self.request(Method::GET, route)
    }

    /// Begins a `POST` request.
    pub fn post(&self, route: impl Into<Route>) -> RequestBuilder<S> {
        self.request(Method::POST, route)
    }

    /// Begins a `PUT` request.
    pub fn put(&self, route: impl Into<Route>) -> RequestBuilder<S> {
        self.request(Method::PUT, route)
    }

    /// Begins a `PATCH` request.
    pub fn patch(&self, route: impl Into<Route>) -> RequestBuilder<S> {
        self.request(Method::PATCH, route)
    }

    /// Begins a `DELETE` request.
    pub fn delete(&self, route: impl Into<Route>) -> RequestBuilder<S> {
        self.request(Method::DELETE, route)
    }

    /// Begins a `HEAD` request.
    pub fn head(&self, route: impl Into<Route>) -> RequestBuilder<S> {
        self.request(Method::HEAD, route)
    }

    /// Begins a request of any method.
    pub fn request(&self, method: Method, route: impl Into<Route>) -> RequestBuilder<S> {
        RequestBuilder::new(self.clone(), method, route.into())
    }

    /// Begins a request of an endpoint.
    pub fn endpoint(&self, endpoint: &'static Endpoint) -> RequestBuilder<S> {
        self.request(endpoint.method().clone(), Route::of(endpoint))
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
        // A path may hold a secret.
        let origin = self.settings.base.as_ref().map(call::origin);
        f.debug_struct("Client").field("origin", &origin).finish_non_exhaustive()
    }
}

impl Settings {
    /// Where a route leads, its template already filled in.
    pub(crate) fn resolve(&self, link: String) -> Result<Uri, Invalid> {
        url::resolve(self.base.as_ref(), self.origins.as_ref(), link)
    }

    /// Adds the fields that a request to a URL has none of.
    pub(crate) fn add_headers(&self, uri: &Uri, headers: &mut HeaderMap) {
        for name in self.headers.keys() {
            if headers.contains_key(name) {
                continue;
            }
            for value in self.headers.get_all(name) {
                let ours = || self.base.as_ref().is_none_or(|base| url::same_origin(base, uri));
                if !value.is_sensitive() || ours() {
                    // There is always room for them, but for who sends thousands.
                    let _ = headers.try_append(name, value.clone());
                }
            }
        }
    }
}

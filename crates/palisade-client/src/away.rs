//! What goes to another origin than was asked for, by a redirect: nothing that could be a secret.

use std::task::{Context, Poll};

use http::{
    Extensions, HeaderMap, HeaderName, Request,
    header::{
        ACCEPT, ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE,
        RANGE, USER_AGENT,
    },
};
use palisade_core::{Attempt, Deadline};
use tower_service::Service;

use crate::{Body, Timeouts};

/// In the extensions of a request: a redirect leads it to another origin.
#[derive(Clone, Copy)]
struct Away;

/// What another origin may know. A list of what it must not know would lack the
/// names of all the fields that carry keys.
const HARMLESS: [HeaderName; 8] = [
    ACCEPT,
    ACCEPT_LANGUAGE,
    CACHE_CONTROL,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    RANGE,
    USER_AGENT,
];

/// Takes from a request what another origin must not know, and tells the layers that it passes.
pub(crate) fn send_away(request: &mut Request<Body>) {
    keep_harmless(request.headers_mut());
    let extensions = request.extensions_mut();
    let mut kept = Extensions::new();
    keep::<Deadline>(extensions, &mut kept);
    keep::<Timeouts>(extensions, &mut kept);
    keep::<Attempt>(extensions, &mut kept);
    kept.insert(Away);
    // What it answers says nothing of credentials that it does not get.
    #[cfg(feature = "auth")]
    kept.insert(palisade_auth::AuthBypass);
    *extensions = kept;
}

fn keep<T: Clone + Send + Sync + 'static>(from: &mut Extensions, to: &mut Extensions) {
    if let Some(value) = from.remove::<T>() {
        to.insert(value);
    }
}

fn keep_harmless(fields: &mut HeaderMap) {
    let kept = HARMLESS.iter().filter_map(|name| Some((name.clone(), fields.get(name)?.clone())));
    *fields = kept.filter(|(_, value)| !value.is_sensitive()).collect();
}

/// Takes from requests that go away what layers have put on them on their way.
#[derive(Clone)]
pub(crate) struct Harmless<S> {
    inner: S,
}

impl<S> Harmless<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for Harmless<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<Body>) -> S::Future {
        if request.extensions().get::<Away>().is_some() {
            keep_harmless(request.headers_mut());
        }
        self.inner.call(request)
    }
}

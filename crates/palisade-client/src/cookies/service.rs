use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{
    HeaderMap, HeaderValue, Request, Response, Uri,
    header::{COOKIE, VARY},
};
use palisade_core::BoxError;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::CookieJar;
use crate::{Body, erased::Answer, vary::vary_by_more};

/// Sends the cookies of a jar, and takes those of responses.
///
/// It stands below redirects, so that each hop has those of its own origin.
#[derive(Clone)]
pub(crate) struct Cookies<S> {
    inner: S,
    // One pointer: calls keep clones of the service.
    jar: Option<Arc<CookieJar>>,
}

impl<S> Cookies<S> {
    pub(crate) fn new(inner: S, jar: Option<CookieJar>) -> Self {
        Self { inner, jar: jar.map(Arc::new) }
    }
}

impl<S, B> Service<Request<Body>> for Cookies<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = CookiesFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let exchange = self.jar.as_ref().map(|jar| Box::new(Exchange::begin(jar, &mut request)));
        CookiesFuture { future: self.inner.call(request), exchange }
    }
}

pin_project! {
    pub(crate) struct CookiesFuture<F> {
        #[pin]
        future: F,
        // Boxed: most clients have no jar, and each layer moves it.
        exchange: Option<Box<Exchange>>,
    }
}

impl<F, B> Future for CookiesFuture<F>
where
    F: Future<Output = Answer<B>>,
{
    type Output = Answer<B>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer<B>> {
        let this = self.project();
        let mut response = ready!(this.future.poll(cx))?;
        if let Some(exchange) = this.exchange.take() {
            exchange.end(response.headers_mut());
        }
        Poll::Ready(Ok(response))
    }
}

/// A request and its response, as far as cookies are concerned.
struct Exchange {
    jar: Arc<CookieJar>,
    uri: Uri,
}

impl Exchange {
    fn begin(jar: &Arc<CookieJar>, request: &mut Request<Body>) -> Self {
        let uri = request.uri().clone();
        // HTTP/2 may have several lines of them.
        let own = request.headers().get_all(COOKIE).iter().map(HeaderValue::as_bytes);
        let own = own.collect::<Vec<_>>().join(&b"; "[..]);
        if let Some(cookies) = jar.cookies_beside(&own, &uri) {
            // A map that is full does without.
            let _ = request.headers_mut().try_insert(COOKIE, cookies);
        }
        Self { jar: Arc::clone(jar), uri }
    }

    fn end(self, headers: &mut HeaderMap) {
        self.jar.take_all(&self.uri, headers);
        if varies_by_cookie(headers) {
            // RFC 9110, section 12.5.5. A cache further out does not see what the jar has,
            // and would take the answer to one login for that to the next.
            vary_by_more(headers);
        }
    }
}

fn varies_by_cookie(headers: &HeaderMap) -> bool {
    let names = |value: &HeaderValue| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|name| name.trim_ascii().eq_ignore_ascii_case(b"cookie"))
    };
    headers.get_all(VARY).iter().any(names)
}

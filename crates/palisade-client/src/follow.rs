use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode,
    header::{
        ACCEPT, ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE,
        IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LOCATION, RANGE, USER_AGENT, VARY,
    },
};
use http_body::Body as _;
use palisade_core::{BoxError, HeadCopy, is_safe};
use pin_project_lite::pin_project;
use tower_http::follow_redirect::{
    FollowRedirect,
    policy::{Action, Attempt, Policy},
};
use tower_service::Service;

use crate::{
    Body,
    erased::{Answer, BoxFuture},
    url::same_origin,
};

/// Follows redirects by the rules of tower-http, which is asked only when there
/// is one: until then the head of the request is kept, and nothing else.
#[derive(Clone)]
pub(crate) struct Follow<S> {
    inner: S,
    most: usize,
}

impl<S> Follow<S> {
    /// Follows so many; none, if it is zero.
    pub(crate) fn new(inner: S, most: usize) -> Self {
        Self { inner, most }
    }
}

impl<S, B> Service<Request<Body>> for Follow<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError, Future: Send>
        + Clone
        + Send
        + 'static,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = FollowFuture<S, B>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let head = if self.most == 0 { None } else { HeadCopy::of(&request) };
        let kept = head.map(|head| Kept {
            head,
            body: request.body().try_clone(),
            inner: self.inner.clone(),
            most: self.most,
        });
        FollowFuture::First { future: self.inner.call(request), kept }
    }
}

pub(crate) struct Kept<S> {
    head: HeadCopy,
    body: Option<Body>,
    inner: S,
    most: usize,
}

pin_project! {
    #[project = FutureProj]
    pub(crate) enum FollowFuture<S, B>
    where
        S: Service<Request<Body>>,
    {
        // The inner service works on the request as it came.
        First { #[pin] future: S::Future, kept: Option<Kept<S>> },
        // It was sent elsewhere.
        Following { future: BoxFuture<B> },
    }
}

impl<S, B> Future for FollowFuture<S, B>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError, Future: Send>
        + Clone
        + Send
        + 'static,
    B: Send + 'static,
{
    type Output = Answer<B>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.as_mut().project() {
                FutureProj::First { future, kept } => {
                    let response = ready!(future.poll(cx))?;
                    let kept = match redirects(&response) {
                        true => kept.take(),
                        false => None,
                    };
                    let Some(kept) = kept else {
                        return Poll::Ready(Ok(response));
                    };
                    self.set(Self::Following { future: kept.follow(response) });
                }
                FutureProj::Following { future } => return future.as_mut().poll(cx),
            }
        }
    }
}

fn redirects<B>(response: &Response<B>) -> bool {
    let status = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    status && response.headers().contains_key(LOCATION)
}

impl<S> Kept<S> {
    /// Follows a redirect, and those that come of it.
    #[cold]
    fn follow<B>(self, response: Response<B>) -> BoxFuture<B>
    where
        S: Service<Request<Body>, Response = Response<B>, Error = BoxError, Future: Send>
            + Clone
            + Send
            + 'static,
        B: Send + 'static,
    {
        let Self { head, body, inner, most } = self;
        // A stream went out with the first request, and is no body that clones.
        let body = body.unwrap_or_else(Body::spent);
        let policy = OwnOrigin { left: most, away: false, body: !body.is_end_stream() };
        let answered = Answered { inner, first: Some(response) };
        let mut follow = FollowRedirect::with_policy(answered, policy);
        Box::pin(follow.call(head.rebuild().map(|()| body)))
    }
}

/// A service that has answered the first request already.
struct Answered<S, B> {
    inner: S,
    first: Option<Response<B>>,
}

impl<S: Clone, B> Clone for Answered<S, B> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), first: None }
    }
}

impl<S, B> Service<Request<Body>> for Answered<S, B>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = AnsweredFuture<S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.first.take() {
            Some(response) => AnsweredFuture::First { response: Some(response) },
            None => AnsweredFuture::Called { future: self.inner.call(request) },
        }
    }
}

pin_project! {
    #[project = AnsweredProj]
    enum AnsweredFuture<F, B> {
        First { response: Option<Response<B>> },
        Called { #[pin] future: F },
    }
}

impl<F, B> Future for AnsweredFuture<F, B>
where
    F: Future<Output = Answer<B>>,
{
    type Output = Answer<B>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            AnsweredProj::First { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                None => Poll::Pending,
            },
            AnsweredProj::Called { future } => {
                let mut response = ready!(future.poll(cx))?;
                // RFC 9111, section 4: what is stored answers the URI that it was asked by. A
                // cache further out sees the first one alone, and RFC 9110, section 12.5.5, has
                // a way to say that more than it sees decides.
                vary_by_more(response.headers_mut());
                Poll::Ready(Ok(response))
            }
        }
    }
}

/// Says that a response depends on more than its request shows, so that caches do not store it.
pub(crate) fn vary_by_more(headers: &mut HeaderMap) {
    // A map that is full does without: caches store none that is nearly full.
    let _ = headers.try_append(VARY, HeaderValue::from_static("*"));
}

/// Follows so many redirects, and takes nothing along to another origin that could
/// be a secret: neither fields but those that say what is wanted, nor extensions,
/// nor a body. Nothing but safe methods go there.
#[derive(Clone, Debug)]
struct OwnOrigin {
    left: usize,
    away: bool,
    body: bool,
}

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

impl Policy<Body, BoxError> for OwnOrigin {
    fn redirect(&mut self, attempt: &Attempt<'_>) -> Result<Action, BoxError> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(Action::Stop);
        };
        self.left = left;
        // What is not http is not for this client.
        let known = matches!(attempt.location().scheme_str(), Some("http" | "https"));
        if !known {
            return Ok(Action::Stop);
        }
        // With these the body was left out.
        self.body &= attempt.status() != StatusCode::SEE_OTHER
            && attempt.method() == attempt.previous_method();
        if !same_origin(attempt.previous(), attempt.location()) {
            if self.body || !is_safe(attempt.method()) {
                return Ok(Action::Stop);
            }
            self.away = true;
        }
        Ok(Action::Follow)
    }

    fn on_request(&mut self, request: &mut Request<Body>) {
        // What is known is what was asked for first, which is answered already: 304 would be about
        // something else. What a write insists on stays, as it would be done without it.
        if is_safe(request.method()) {
            let fields = request.headers_mut();
            fields.remove(IF_NONE_MATCH);
            fields.remove(IF_MODIFIED_SINCE);
            // RFC 9110, section 13.1.5: it is wanted if nothing has changed, and else the whole.
            if fields.remove(IF_RANGE).is_some() {
                fields.remove(RANGE);
            }
        }
        if self.away {
            let fields = request.headers();
            let harmless = HARMLESS
                .iter()
                .filter_map(|name| fields.get(name).map(|value| (name.clone(), value.clone())));
            let harmless: HeaderMap = harmless.filter(|(_, value)| !value.is_sensitive()).collect();
            *request.headers_mut() = harmless;
            request.extensions_mut().clear();
        }
    }

    fn clone_body(&self, body: &Body) -> Option<Body> {
        body.try_clone()
    }
}

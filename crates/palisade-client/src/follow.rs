use std::{
    error::Error,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{
    Method, Request, Response, StatusCode,
    header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LOCATION, RANGE},
};
use http_body::Body as _;
use palisade_core::{BoxError, ErrorKind, Fault, HeadCopy, is_safe};
use pin_project_lite::pin_project;
use tower_http::follow_redirect::{
    FollowRedirect,
    policy::{Action, Attempt, Policy},
};
use tower_service::Service;

use crate::{
    Body,
    away::send_away,
    call,
    erased::{Answer, BoxFuture},
    url::same_origin,
};

/// Follows redirects by the rules of tower-http, which is asked only when there
/// is one: until then the head of the request is kept, and nothing else.
///
/// It stands outside of all that keeps an answer, judges it, or retries: where a redirect leads
/// is another request, and what becomes of that says nothing of the one that led there.
#[derive(Clone)]
pub(crate) struct Follow<S> {
    inner: S,
    // What is asked where a redirect leads. Shared: a call keeps it, and seldom has one.
    next: Arc<S>,
    most: usize,
}

impl<S: Clone> Follow<S> {
    /// Follows so many; none, if it is zero.
    pub(crate) fn new(inner: S, most: usize) -> Self {
        Self { next: Arc::new(inner.clone()), inner, most }
    }
}

impl<S, B> Service<Request<Body>> for Follow<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError, Future: Send>
        + Clone
        + Send
        + Sync
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
            next: Arc::clone(&self.next),
            most: self.most,
        });
        FollowFuture::First { future: self.inner.call(request), kept }
    }
}

pub(crate) struct Kept<S> {
    head: HeadCopy,
    body: Option<Body>,
    next: Arc<S>,
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
        + Sync
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
        let Self { head, body, next, most } = self;
        // A stream went out with the first request, and is no body that clones.
        let body = body.unwrap_or_else(Body::spent);
        let body_left = !body.is_end_stream();
        let policy = OwnOrigin { left: most, led: false, away: false, body: body_left };
        let request = head.rebuild().map(|()| body);
        let method = request.method().clone();
        let answered = Answered { inner: S::clone(&next), method, first: Some(response) };
        let mut follow = FollowRedirect::with_policy(answered, policy);
        Box::pin(follow.call(request))
    }
}

/// A service that has answered the first request already.
struct Answered<S, B> {
    inner: S,
    method: Method,
    first: Option<Response<B>>,
}

impl<S: Clone, B> Clone for Answered<S, B> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), method: self.method.clone(), first: None }
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
            None => {
                let done = *request.method() != self.method;
                let hop = Hop { origin: call::origin(request.uri()), done };
                AnsweredFuture::Called { future: self.inner.call(request), hop }
            }
        }
    }
}

/// Where a redirect has led.
struct Hop {
    origin: String,
    // By another method: what was asked for first is done.
    done: bool,
}

impl Hop {
    fn fail(&self, cause: BoxError) -> BoxError {
        let kind = ErrorKind::of(&*cause);
        let led = Led { to: self.origin.clone(), cause };
        match self.done {
            // Whatever became of the hop: nobody is to do it again.
            true => Fault::new(kind, led).into(),
            false => led.into(),
        }
    }
}

/// What went wrong where a redirect had led.
#[derive(Debug)]
struct Led {
    to: String,
    cause: BoxError,
}

impl fmt::Display for Led {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a redirect has led to {}", self.to)
    }
}

impl Error for Led {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.cause)
    }
}

pin_project! {
    #[project = AnsweredProj]
    enum AnsweredFuture<F, B> {
        First { response: Option<Response<B>> },
        Called { #[pin] future: F, hop: Hop },
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
            AnsweredProj::Called { future, hop } => {
                Poll::Ready(ready!(future.poll(cx)).map_err(|error| hop.fail(error)))
            }
        }
    }
}

/// Follows so many redirects, and takes nothing along to another origin that could
/// be a secret: neither fields but those that say what is wanted, nor what layers
/// read, nor a body. Nothing but safe methods go there.
#[derive(Clone, Debug)]
struct OwnOrigin {
    left: usize,
    // The request is no more the first one.
    led: bool,
    away: bool,
    body: bool,
}

impl Policy<Body, BoxError> for OwnOrigin {
    fn redirect(&mut self, attempt: &Attempt<'_>) -> Result<Action, BoxError> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(Action::Stop);
        };
        (self.left, self.led) = (left, true);
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
        if !self.led {
            return;
        }
        palisade_core::Attempt::count_resend(request.extensions_mut());
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
            send_away(request);
        }
    }

    fn clone_body(&self, body: &Body) -> Option<Body> {
        body.try_clone()
    }
}

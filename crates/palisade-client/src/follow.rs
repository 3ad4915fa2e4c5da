mod hops;
mod policy;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response, StatusCode, header::LOCATION};
use http_body::Body as HttpBody;
use palisade_core::{BoxError, HeadCopy};
use pin_project_lite::pin_project;
use tower_http::follow_redirect::{FollowRedirect, RequestUri};
use tower_service::Service;

use self::{
    hops::{Hops, Left},
    policy::OwnOrigin,
};
use crate::{
    Body,
    erased::{Answer, BoxFuture},
    url::without_userinfo,
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
    B: HttpBody + Send + 'static,
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
    B: HttpBody + Send + 'static,
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
        B: HttpBody + Send + 'static,
    {
        let Self { head, body, next, most } = self;
        // A stream went out with the first request, and is no body that clones.
        let body = body.unwrap_or_else(Body::spent);
        let policy = OwnOrigin::new(most, &body);
        let request = head.rebuild().map(|()| body);
        let left = Left::default();
        let response = left.keep(response);
        let hops = Hops::new(S::clone(&next), request.method(), response, left.clone());
        let mut follow = FollowRedirect::with_policy(hops, policy);
        let followed = follow.call(request);
        Box::pin(async move {
            let mut response = left.put_back(followed.await?);
            if let Some(RequestUri(uri)) = response.extensions_mut().get_mut()
                && let Some(told) = without_userinfo(uri)
            {
                *uri = told;
            }
            Ok(response)
        })
    }
}

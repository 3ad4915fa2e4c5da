use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use palisade_core::{BoxError, ErrorKind, Event, Head, HeadCopy, Observer, Target};
use tower_service::Service;

use crate::{
    Applied, AuthError, Authenticator, Bodies, CloneBody, ResponseFuture,
    future::{Kept, Pending, Sent},
    layer::Rules,
};

/// Puts credentials on requests.
///
/// Made by [`AuthLayer`](crate::AuthLayer). It is ready when the inner service
/// is. The inner service is cloned for each call that may be sent again, or has
/// to wait, so it should be cheap to clone.
pub struct Auth<S, A, M = CloneBody> {
    inner: S,
    rules: Arc<Rules<A, M>>,
}

impl<S, A, M> Auth<S, A, M> {
    pub(crate) fn new(inner: S, rules: Arc<Rules<A, M>>) -> Self {
        Self { inner, rules }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Clone, A, M> Clone for Auth<S, A, M> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), Arc::clone(&self.rules))
    }
}

impl<S: fmt::Debug, A, M> fmt::Debug for Auth<S, A, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, B, ResB, A, M> Service<Request<B>> for Auth<S, A, M>
where
    S: Service<Request<M::Body>, Response = Response<ResB>, Error: Into<BoxError>> + Clone,
    ResB: Body,
    A: Authenticator,
    M: Bodies<B>,
{
    type Response = Response<ResB>;
    type Error = BoxError;
    type Future = ResponseFuture<S, B, ResB, A, M>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let rules = &self.rules;
        let way = rules.gate.way(&rules.authenticator, &request);
        if way != crate::gate::Way::Through {
            return self.call_otherwise(way, request);
        }

        let may_change = rules.authenticator.may_change();
        // As it was before, so that nothing is put there twice.
        let keeps = may_change && rules.bodies.keeps(&request);
        let head = if keeps { HeadCopy::of(&request) } else { None };
        // Before the body is exchanged: it is faster to move a request once.
        match rules.authenticator.apply(&mut request) {
            Applied::Done(stamp) => {
                let (request, body) = rules.bodies.first(request);
                // The ready instance is called; the second try asks this clone first.
                let kept = head.zip(body);
                let kept = kept.map(|(head, body)| Kept::new(head, body, self.inner.clone()));
                let kept = kept.map(Box::new);
                let sent = may_change.then(|| Sent::new(Arc::clone(rules), stamp, kept));
                ResponseFuture::called(self.inner.call(request), sent)
            }
            Applied::Wait(wait) => {
                // Nobody keeps the one that is ready: what it holds may be what
                // the token is waited for.
                let inner = self.inner.clone();
                self.inner = inner.clone();
                let (request, body) = rules.bodies.first(request);
                let kept = head.zip(body);
                let kept = kept.map(|(head, body)| Kept::new(head, body, inner.clone()));
                let kept = kept.map(Box::new);
                let pending = Pending::first(Arc::clone(rules), inner, request, kept, wait);
                ResponseFuture::pending(pending)
            }
            Applied::Failed(error) => {
                rules.refuse(&request, "no_token", &error);
                ResponseFuture::failed(error)
            }
        }
    }
}

impl<S, A, M> Auth<S, A, M> {
    #[cold]
    fn call_otherwise<B, ResB>(
        &mut self,
        way: crate::gate::Way,
        request: Request<B>,
    ) -> ResponseFuture<S, B, ResB, A, M>
    where
        S: Service<Request<M::Body>, Response = Response<ResB>>,
        A: Authenticator,
        M: Bodies<B>,
    {
        match way.refusal() {
            None => {
                let (request, _) = self.rules.bodies.first(request);
                ResponseFuture::around(self.inner.call(request))
            }
            Some((reason, error)) => {
                self.rules.refuse(&request, reason, &error);
                ResponseFuture::failed(error)
            }
        }
    }
}

impl<A, M> Rules<A, M> {
    /// Tells that a request is not sent.
    #[cold]
    pub(crate) fn refuse<B>(&self, request: &Request<B>, reason: &'static str, error: &AuthError) {
        if let Some(observer) = self.observer.get() {
            let event = Event::Refused {
                kind: ErrorKind::Auth,
                reason,
                retry_after: error.retry_after(),
                enforced: true,
            };
            observer.on_event(Target::of(Head::of(request)), &event);
        }
    }
}

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use palisade_core::{Classify, Head, HeadCopy, Now};
use tokio::time::Instant;
use tower_service::Service;

use crate::{
    AttemptLimit, Bodies, Budget, Requests, ResponseFuture, Rules, Schedule, retrying::Retrying,
};

/// Retries requests that failed in a way that may pass.
///
/// Made by [`RetryLayer`](crate::RetryLayer). The inner service is cloned for
/// each call that may be retried, so it should be cheap to clone.
///
/// # Panics
///
/// A wait, and an attempt that has a timeout, panic outside of a tokio runtime
/// whose timer is enabled.
pub struct Retry<S, R = Rules> {
    inner: S,
    rules: Arc<R>,
}

impl<S, R> Retry<S, R> {
    pub(crate) fn new(inner: S, rules: Arc<R>) -> Self {
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

impl<S: Clone, R> Clone for Retry<S, R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), rules: Arc::clone(&self.rules) }
    }
}

impl<S: fmt::Debug, R> fmt::Debug for Retry<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, B, ResB, C, Q, K, G, M, T> Service<Request<B>> for Retry<S, Rules<C, Q, K, G, M, T>>
where
    S: Service<Request<M::Body>, Response = Response<ResB>> + Clone,
    ResB: Body,
    C: Classify<Response<ResB>, S::Error>,
    Q: Requests,
    K: Schedule,
    G: Budget,
    M: Bodies<B>,
    T: AttemptLimit<S::Error>,
{
    type Response = Response<ResB>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, ResB, C, Q, K, G, M, T>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let rules = &self.rules;
        let timer = rules.timeout.timer();
        let kept = rules.plan(&request, || Now::by(Instant::now)).and_then(|mut plan| {
            rules.mark(&mut request, &mut plan);
            Some((plan, HeadCopy::of(&request)?))
        });
        let Some((plan, head)) = kept else {
            let request = request.map(|body| rules.bodies.once(body));
            return ResponseFuture::once(self.inner.call(request), timer);
        };

        let account = rules.budget.open(Head::of(&request));
        let (parts, body) = request.into_parts();
        let (body, kept) = rules.bodies.first(body);
        let called = self.inner.call(Request::from_parts(parts, body));
        // The ready instance was called; further attempts ask this clone first.
        let retrying =
            Retrying::new(self.inner.clone(), Arc::clone(rules), plan, head, kept, account);
        ResponseFuture::retrying(called, timer, retrying)
    }
}

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use palisade_core::Classify;
use tower_service::Service;

use crate::{
    Fixed, HoldPermit, LimitAlgorithm, LimitOf, OnRefusal, OneLimit, PermitFuture, Refuse,
    Unjudged, UntilBodyEnd,
    concurrency::{
        future::{Ending, Waiting},
        layer::Rules,
    },
};

/// Lets no more requests through to a service at once than a limit has it.
///
/// Made by [`ConcurrencyLimitLayer`](crate::ConcurrencyLimitLayer). It is ready
/// when the inner service is, and takes its permits when it is called. A request
/// that has to wait does so with a clone of the inner service, and so holds up
/// nothing that this has in readiness.
pub struct ConcurrencyLimit<
    S,
    A: LimitAlgorithm = Fixed,
    K = OneLimit,
    C = Unjudged,
    R = Refuse,
    H = UntilBodyEnd,
> {
    inner: S,
    rules: Arc<Rules<A, K, C, R, H>>,
}

impl<S, A: LimitAlgorithm, K, C, R, H> ConcurrencyLimit<S, A, K, C, R, H> {
    pub(crate) fn new(inner: S, rules: Arc<Rules<A, K, C, R, H>>) -> Self {
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

impl<S: Clone, A: LimitAlgorithm, K, C, R, H> Clone for ConcurrencyLimit<S, A, K, C, R, H> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), Arc::clone(&self.rules))
    }
}

impl<S: fmt::Debug, A: LimitAlgorithm, K, C, R, H> fmt::Debug
    for ConcurrencyLimit<S, A, K, C, R, H>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimit").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, Req, A, K, C, R, H> Service<Req> for ConcurrencyLimit<S, A, K, C, R, H>
where
    S: Service<Req> + Clone,
    A: LimitAlgorithm,
    K: LimitOf<Req, A>,
    C: Classify<S::Response, S::Error> + Clone,
    R: OnRefusal<S::Response, S::Error> + Clone,
    H: HoldPermit<S::Response, A> + Clone,
{
    type Response = H::Response;
    type Error = R::Error;
    type Future = PermitFuture<S, Req, A, C, R, H>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), R::Error>> {
        self.inner.poll_ready(cx).map_err(|error| self.rules.refusal.error(error))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let Rules { limiter, scope, classify, refusal, hold } = &*self.rules;
        let ending = Ending::new(classify.clone(), refusal.clone(), hold.clone());
        let limiter = match scope.limiter(&request, limiter).into_permit() {
            Ok(permit) => return PermitFuture::called(self.inner.call(request), permit, ending),
            Err(limiter) => limiter,
        };
        if let Some(limited) = limiter.refusal() {
            return PermitFuture::refused(limited, ending);
        }
        // Nobody keeps the one that is ready: what it holds may be what this request, or
        // another one, has to wait for.
        let inner = self.inner.clone();
        self.inner = inner.clone();
        PermitFuture::waiting(Waiting::new(inner, request, limiter.acquire()), ending)
    }
}

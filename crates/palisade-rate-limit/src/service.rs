use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use crate::{
    Answered, Assign, Begin, CostOf, Limit, OnRefusal, One, PassOn, Refuse, ResponseFuture, Single,
    future::Waiting, layer::Rules,
};

/// Lets requests through to a service no faster than a quota has it.
///
/// Made by [`RateLimitLayer`](crate::RateLimitLayer). It is ready when the inner
/// service is. A request that has to wait does so with a clone of that, and
/// so holds up nothing that the inner service has in readiness.
pub struct RateLimit<S, K = Single, C = One, R = Refuse, A = PassOn> {
    inner: S,
    rules: Arc<Rules<K, C, R, A>>,
}

impl<S, K, C, R, A> RateLimit<S, K, C, R, A> {
    pub(crate) fn new(inner: S, rules: Arc<Rules<K, C, R, A>>) -> Self {
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

impl<S: Clone, K, C, R, A> Clone for RateLimit<S, K, C, R, A> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), Arc::clone(&self.rules))
    }
}

impl<S: fmt::Debug, K, C, R, A> fmt::Debug for RateLimit<S, K, C, R, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, Req, K, C, R, A> Service<Req> for RateLimit<S, K, C, R, A>
where
    S: Service<Req> + Clone,
    K: Assign<Req>,
    C: CostOf<Req>,
    R: OnRefusal<S::Response, S::Error> + Clone,
    A: Answered<S::Response, K::Limiter> + Clone,
{
    type Response = S::Response;
    type Error = R::Error;
    type Future = ResponseFuture<S, Req, R, A, K::Limiter>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), R::Error>> {
        self.inner.poll_ready(cx).map_err(|error| self.rules.refusal.error(error))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let rules = &*self.rules;
        let (refusal, answers) = (rules.refusal.clone(), rules.answers.clone());
        let cost = rules.cost.cost(&request);
        let limiter = match answers.always() {
            None => rules.scope.limiter(&request),
            Some(ticket) => match rules.scope.take(&request, cost) {
                Err(limiter) => limiter,
                Ok(()) => {
                    let future = self.inner.call(request);
                    return ResponseFuture::called(future, ticket, refusal, answers);
                }
            },
        };
        match limiter.begin(cost) {
            Begin::Go => {
                let ticket = answers.sent(&limiter, cost);
                ResponseFuture::called(self.inner.call(request), ticket, refusal, answers)
            }
            Begin::Refuse(limited) => ResponseFuture::refused(limited, refusal, answers),
            Begin::Wait => {
                // Nobody keeps the one that is ready: what it holds may be what this request, or
                // another one, has to wait for.
                let inner = self.inner.clone();
                self.inner = inner.clone();
                let deadline = rules.cost.deadline(&request);
                let waiting = Waiting::new(inner, request, cost, limiter.clone(), deadline);
                ResponseFuture::waiting(waiting, refusal, answers)
            }
        }
    }
}

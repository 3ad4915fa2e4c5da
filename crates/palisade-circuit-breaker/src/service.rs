use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use palisade_core::Classify;
use tower_service::Service;

use crate::{
    Assign, AtHead, ErrorsFail, OnRefusal, RecordAt, Refuse, ResponseFuture, Single,
    breaker::{Token, grade},
    future::{CallFuture, Held},
    layer::Rules,
    ongoing::{Hold, Ongoing, poll_ready},
};

/// Calls a service until it fails too often, and then refuses for a while.
///
/// Made by [`CircuitBreakerLayer`](crate::CircuitBreakerLayer).
///
/// With one breaker for all calls it does not ask whether the inner service is
/// ready while it is sure to refuse, and an error of that readiness counts as a
/// failed call. Who waits for the inner service is woken by that alone: a
/// breaker that opens meanwhile is seen with the next poll.
pub struct CircuitBreaker<S, C = ErrorsFail, K = Single, R = Refuse, P = AtHead> {
    inner: S,
    rules: Arc<Rules<C, K, R, P>>,
    // It said that it is ready without asking the inner service.
    refuses: bool,
}

impl<S, C, K, R, P> CircuitBreaker<S, C, K, R, P> {
    pub(crate) fn new(inner: S, rules: Arc<Rules<C, K, R, P>>) -> Self {
        Self { inner, rules, refuses: false }
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

impl<S: Clone, C, K, R, P> Clone for CircuitBreaker<S, C, K, R, P> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), Arc::clone(&self.rules))
    }
}

impl<S: fmt::Debug, C, K, R, P> fmt::Debug for CircuitBreaker<S, C, K, R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, Req, C, K, R, P> Service<Req> for CircuitBreaker<S, C, K, R, P>
where
    S: Service<Req>,
    C: Classify<S::Response, S::Error>,
    K: Assign<Req>,
    R: OnRefusal<S::Response, S::Error>,
    P: RecordAt<S::Response>,
{
    type Response = P::Response;
    type Error = R::Error;
    type Future = ResponseFuture<S::Future, C, K, R, P>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), R::Error>> {
        let rules = &*self.rules;
        let breaker = rules.scope.known().map(|handle| handle.shared());
        // A service that is down may never be ready to say so.
        if breaker.is_some_and(|breaker| breaker.refusal(|| breaker.settings.now()).is_some()) {
            self.refuses = true;
            return Poll::Ready(Ok(()));
        }
        let error = match poll_ready(breaker, || self.inner.poll_ready(cx)) {
            // It said that it is ready, and does not take that back.
            Poll::Pending if self.refuses => return Poll::Ready(Ok(())),
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) => {
                self.refuses = false;
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Err(error)) => error,
        };
        self.refuses = false;
        if let Some(breaker) = breaker {
            breaker.count_unready(grade(rules.classify.classify(Err(&error))));
        }
        Poll::Ready(Err(rules.refusal.error(error)))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let lease = self.rules.scope.lease(&request);
        let held = Held::new(Arc::clone(&self.rules), lease);
        let refuses = std::mem::take(&mut self.refuses);
        let token = match held.breaker() {
            None => Token::UNCOUNTED,
            Some(breaker) => {
                let now = || breaker.settings.now();
                let admitted = match refuses {
                    // The inner service was not asked whether it is ready.
                    true => Err(breaker.late_refusal(now)),
                    false => breaker.admit(now),
                };
                match admitted {
                    Ok(token) => token,
                    Err(open) => {
                        breaker.tell_refusal(&open, true);
                        return ResponseFuture::refused(held, open);
                    }
                }
            }
        };
        let mut ongoing = Ongoing::new(held, token);
        let future = ongoing.work(|| self.inner.call(request));
        ResponseFuture::called(CallFuture::new(future, ongoing))
    }
}

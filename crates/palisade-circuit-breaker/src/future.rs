use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use palisade_core::Classify;
use pin_project_lite::pin_project;

use crate::{
    OnRefusal, Open, Permit, RecordAt, Scope,
    breaker::{Breaker, grade},
    layer::Rules,
    ongoing::{Hold, Ongoing},
    word::Grade,
};

/// What a call holds of the layer, and of its breaker.
pub(crate) struct Held<C, K: Scope, R, P> {
    rules: Arc<Rules<C, K, R, P>>,
    lease: K::Lease,
}

impl<C, K: Scope, R, P> Held<C, K, R, P> {
    #[inline]
    pub(crate) fn new(rules: Arc<Rules<C, K, R, P>>, lease: K::Lease) -> Self {
        Self { rules, lease }
    }
}

impl<C, K: Scope, R, P> Hold for Held<C, K, R, P> {
    #[inline]
    fn breaker(&self) -> Option<&Breaker> {
        self.rules.scope.leased(&self.lease).map(|handle| handle.shared())
    }
}

pin_project! {
    /// The future of [`CircuitBreaker`](crate::CircuitBreaker).
    ///
    /// # Cancel safety
    ///
    /// Dropped, it drops the inner service's future, and the call counts as
    /// cancelled: see [`OnCancel`](crate::OnCancel).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, C, K: Scope, R, P> {
        #[pin]
        stage: Stage<F, C, K, R, P>,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<F, C, K: Scope, R, P> {
        // The inner service works on it.
        Called { #[pin] call: CallFuture<F, C, K, R, P> },
        // The breaker refused it.
        Refused { held: Held<C, K, R, P>, open: Open },
    }
}

impl<F, C, K: Scope, R, P> ResponseFuture<F, C, K, R, P> {
    #[inline]
    pub(crate) fn called(call: CallFuture<F, C, K, R, P>) -> Self {
        Self { stage: Stage::Called { call } }
    }

    pub(crate) fn refused(held: Held<C, K, R, P>, open: Open) -> Self {
        Self { stage: Stage::Refused { held, open } }
    }
}

impl<F, Res, Err, C, K, R, P> Future for ResponseFuture<F, C, K, R, P>
where
    F: Future<Output = Result<Res, Err>>,
    C: Classify<Res, Err>,
    K: Scope,
    R: OnRefusal<Res, Err>,
    P: RecordAt<Res>,
{
    type Output = Result<P::Response, R::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().stage.project() {
            StageProj::Called { call } => call.poll_with(cx, |refusal, error| refusal.error(error)),
            StageProj::Refused { held, open } => {
                let rules = &held.rules;
                let response = rules.refusal.refuse(*open);
                Poll::Ready(response.map(|response| rules.record.respond(response, None)))
            }
        }
    }
}

impl<F, C, K: Scope, R, P> fmt::Debug for ResponseFuture<F, C, K, R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

pin_project! {
    /// A call that was admitted: the future of
    /// [`Backpressure`](crate::Backpressure).
    ///
    /// # Cancel safety
    ///
    /// As of [`ResponseFuture`].
    #[must_use = "futures do nothing unless polled"]
    pub struct CallFuture<F, C, K: Scope, R, P> {
        #[pin]
        future: F,
        ongoing: Ongoing<Held<C, K, R, P>>,
    }
}

impl<F, C, K: Scope, R, P> CallFuture<F, C, K, R, P> {
    #[inline]
    pub(crate) fn new(future: F, ongoing: Ongoing<Held<C, K, R, P>>) -> Self {
        Self { future, ongoing }
    }

    #[inline(always)]
    fn poll_with<Res, Err, E>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        fail: impl FnOnce(&R, Err) -> E,
    ) -> Poll<Result<P::Response, E>>
    where
        F: Future<Output = Result<Res, Err>>,
        C: Classify<Res, Err>,
        P: RecordAt<Res>,
    {
        let this = self.project();
        let result = ready!(this.ongoing.work(|| this.future.poll(cx)));
        let outcome = this.ongoing.hold().rules.classify.classify(result.as_ref());
        let permit = match &result {
            Ok(_) if P::LATER && grade(outcome) == Grade::Success => {
                this.ongoing.move_to(|held| held.rules.scope.leased(&held.lease).cloned())
            }
            Ok(response) => {
                this.ongoing.record(outcome, |held| held.rules.classify.retry_after(response));
                None
            }
            Err(_) => {
                this.ongoing.record(outcome, |_| None);
                None
            }
        };
        let rules = &this.ongoing.hold().rules;
        Poll::Ready(match result {
            Ok(response) => Ok(rules.record.respond(response, permit.map(Permit::new))),
            Err(error) => Err(fail(&rules.refusal, error)),
        })
    }
}

impl<F, Res, Err, C, K, R, P> Future for CallFuture<F, C, K, R, P>
where
    F: Future<Output = Result<Res, Err>>,
    C: Classify<Res, Err>,
    K: Scope,
    P: RecordAt<Res>,
{
    type Output = Result<P::Response, Err>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_with(cx, |_, error| error)
    }
}

impl<F, C, K: Scope, R, P> fmt::Debug for CallFuture<F, C, K, R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallFuture").finish_non_exhaustive()
    }
}

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use palisade_core::Classify;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{AcquirePermit, HoldPermit, LimitAlgorithm, Limited, OnRefusal, Permit};

pin_project! {
    /// The future of [`ConcurrencyLimit`](crate::ConcurrencyLimit).
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, it leaves the line and takes nothing. Dropped
    /// after that, it gives its permit back, and the limit learns nothing.
    #[must_use = "futures do nothing unless polled"]
    pub struct PermitFuture<S: Service<Req>, Req, A: LimitAlgorithm, C, R, H> {
        #[pin]
        stage: Stage<S, Req, A, S::Future>,
        ending: Ending<C, R, H>,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<S, Req, A: LimitAlgorithm, F> {
        // It waits for its permit, and then for a service that is ready. Boxed, as most need not.
        Waiting { waiting: Box<Waiting<S, Req, A>> },
        // The inner service works on it. Without a permit, it has panicked or ended.
        Called { #[pin] future: F, permit: Option<Permit<A>> },
        // The limiter refused it.
        Refused { limited: Limited },
    }
}

/// What is done with the result.
pub(crate) struct Ending<C, R, H> {
    classify: C,
    refusal: R,
    hold: H,
}

/// A request that waits.
pub(crate) struct Waiting<S, Req, A: LimitAlgorithm> {
    inner: S,
    // Until it is sent.
    request: Option<Req>,
    acquire: AcquirePermit<A>,
    permit: Option<Permit<A>>,
}

/// What waiting came to.
enum Waited<F, A: LimitAlgorithm, E> {
    Called(F, Permit<A>),
    Refused(Limited),
    Unready(E),
}

impl<C, R, H> Ending<C, R, H> {
    #[inline]
    pub(crate) fn new(classify: C, refusal: R, hold: H) -> Self {
        Self { classify, refusal, hold }
    }

    #[inline]
    fn end<Res, Err, A>(
        &self,
        result: Result<Res, Err>,
        mut permit: Permit<A>,
    ) -> Result<H::Response, R::Error>
    where
        A: LimitAlgorithm,
        C: Classify<Res, Err>,
        R: OnRefusal<Res, Err>,
        H: HoldPermit<Res, A>,
    {
        if A::LEARNS {
            permit.record(self.classify.classify(result.as_ref()));
        }
        match result {
            Ok(response) => Ok(self.hold.respond(response, Some(permit))),
            Err(error) => {
                drop(permit);
                Err(self.refusal.error(error))
            }
        }
    }

    fn refuse<Res, Err, A>(&self, limited: Limited) -> Result<H::Response, R::Error>
    where
        A: LimitAlgorithm,
        R: OnRefusal<Res, Err>,
        H: HoldPermit<Res, A>,
    {
        Ok(self.hold.respond(self.refusal.refuse(limited)?, None))
    }
}

impl<S, Req, A: LimitAlgorithm> Waiting<S, Req, A> {
    pub(crate) fn new(inner: S, request: Req, acquire: AcquirePermit<A>) -> Self {
        Self { inner, request: Some(request), acquire, permit: None }
    }
}

impl<S: Service<Req>, Req, A: LimitAlgorithm> Waiting<S, Req, A> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Waited<S::Future, A, S::Error>> {
        if self.permit.is_none() {
            match ready!(Pin::new(&mut self.acquire).poll(cx)) {
                Ok(permit) => self.permit = Some(permit),
                Err(limited) => return Poll::Ready(Waited::Refused(limited)),
            }
        }
        if let Err(error) = ready!(self.inner.poll_ready(cx)) {
            // At once, however long the future is kept.
            self.permit = None;
            return Poll::Ready(Waited::Unready(error));
        }
        let request = self.request.take().expect("it is sent once");
        let mut permit = self.permit.take().expect("it was acquired above");
        permit.send();
        Poll::Ready(Waited::Called(self.inner.call(request), permit))
    }
}

impl<S: Service<Req>, Req, A: LimitAlgorithm, C, R, H> PermitFuture<S, Req, A, C, R, H> {
    #[inline]
    pub(crate) fn called(future: S::Future, permit: Permit<A>, ending: Ending<C, R, H>) -> Self {
        Self { stage: Stage::Called { future, permit: Some(permit) }, ending }
    }

    pub(crate) fn waiting(waiting: Waiting<S, Req, A>, ending: Ending<C, R, H>) -> Self {
        Self { stage: Stage::Waiting { waiting: Box::new(waiting) }, ending }
    }

    pub(crate) fn refused(limited: Limited, ending: Ending<C, R, H>) -> Self {
        Self { stage: Stage::Refused { limited }, ending }
    }
}

impl<S, Req, A, C, R, H> Future for PermitFuture<S, Req, A, C, R, H>
where
    S: Service<Req>,
    A: LimitAlgorithm,
    C: Classify<S::Response, S::Error>,
    R: OnRefusal<S::Response, S::Error>,
    H: HoldPermit<S::Response, A>,
{
    type Output = Result<H::Response, R::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.stage.as_mut().project() {
                StageProj::Called { future, permit } => {
                    // Out of the future while it is polled: a panic gives it back, whatever
                    // becomes of the future.
                    let held = permit.take();
                    let Poll::Ready(result) = future.poll(cx) else {
                        *permit = held;
                        return Poll::Pending;
                    };
                    let held = held.expect("polled after it was ready");
                    return Poll::Ready(this.ending.end(result, held));
                }
                StageProj::Refused { limited } => {
                    return Poll::Ready(this.ending.refuse(*limited));
                }
                StageProj::Waiting { waiting } => match ready!(waiting.poll(cx)) {
                    Waited::Called(future, permit) => {
                        this.stage.set(Stage::Called { future, permit: Some(permit) });
                    }
                    Waited::Refused(limited) => {
                        return Poll::Ready(this.ending.refuse(limited));
                    }
                    Waited::Unready(error) => {
                        return Poll::Ready(Err(this.ending.refusal.error(error)));
                    }
                },
            }
        }
    }
}

impl<S: Service<Req>, Req, A: LimitAlgorithm, C, R, H> fmt::Debug
    for PermitFuture<S, Req, A, C, R, H>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PermitFuture").finish_non_exhaustive()
    }
}

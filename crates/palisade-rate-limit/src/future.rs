use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{Answered, Limit, Limited, Limiter, OnAnswer, OnRefusal, PassOn, granted::Granted};

pin_project! {
    /// The future of [`RateLimit`](crate::RateLimit).
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, it leaves the line and takes no token. Dropped
    /// before the inner service is called, it gives its tokens back.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<
        S: Service<Req>,
        Req,
        R,
        A: OnAnswer<L> = PassOn,
        L: Limit = Limiter,
    > {
        #[pin]
        stage: Stage<S, Req, S::Future, A::Ticket, L>,
        refusal: R,
        answers: A,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<S, Req, F, T, L: Limit> {
        // It waits for its tokens, and then for a service that is ready. Boxed, as most need not.
        Waiting { waiting: Box<Waiting<S, Req, L>> },
        // The inner service works on it. The ticket is handed in with the answer.
        Called { #[pin] future: F, ticket: Option<T> },
        // The limiter refused it.
        Refused { limited: Limited },
    }
}

/// A request that waits.
pub(crate) struct Waiting<S, Req, L: Limit> {
    inner: S,
    // Until it is sent.
    request: Option<Req>,
    cost: u32,
    limiter: L,
    acquire: L::Acquire,
    granted: Option<Granted<L>>,
}

impl<S, Req, L: Limit> Waiting<S, Req, L> {
    pub(crate) fn new(
        inner: S,
        request: Req,
        cost: u32,
        limiter: L,
        deadline: Option<Instant>,
    ) -> Self {
        let acquire = limiter.acquire(cost, deadline);
        Self { inner, request: Some(request), cost, limiter, acquire, granted: None }
    }
}

/// What waiting came to.
enum Waited<F, T, E> {
    Called(F, T),
    Refused(Limited),
    Unready(E),
}

impl<S: Service<Req>, Req, L: Limit> Waiting<S, Req, L> {
    fn poll<A: OnAnswer<L>>(
        &mut self,
        answers: &A,
        cx: &mut Context<'_>,
    ) -> Poll<Waited<S::Future, A::Ticket, S::Error>> {
        if self.granted.is_none() {
            if let Err(limited) = ready!(Pin::new(&mut self.acquire).poll(cx)) {
                return Poll::Ready(Waited::Refused(limited));
            }
            self.granted = Some(Granted::new(self.limiter.clone(), self.cost));
        }
        if let Err(error) = ready!(self.inner.poll_ready(cx)) {
            // At once, however long the future is kept.
            self.granted = None;
            return Poll::Ready(Waited::Unready(error));
        }
        let request = self.request.take().expect("it is sent once");
        let granted = self.granted.take().expect("it was granted above");
        let ticket = answers.sent(granted.limiter(), self.cost);
        // They are spent, even if it panics: nobody knows how far the call came.
        granted.spend();
        Poll::Ready(Waited::Called(self.inner.call(request), ticket))
    }
}

impl<S: Service<Req>, Req, R, A: OnAnswer<L>, L: Limit> ResponseFuture<S, Req, R, A, L> {
    #[inline]
    pub(crate) fn called(future: S::Future, ticket: A::Ticket, refusal: R, answers: A) -> Self {
        Self { stage: Stage::Called { future, ticket: Some(ticket) }, refusal, answers }
    }

    pub(crate) fn waiting(waiting: Waiting<S, Req, L>, refusal: R, answers: A) -> Self {
        Self { stage: Stage::Waiting { waiting: Box::new(waiting) }, refusal, answers }
    }

    pub(crate) fn refused(limited: Limited, refusal: R, answers: A) -> Self {
        Self { stage: Stage::Refused { limited }, refusal, answers }
    }
}

impl<S, Req, R, A, L> Future for ResponseFuture<S, Req, R, A, L>
where
    S: Service<Req>,
    R: OnRefusal<S::Response, S::Error>,
    A: Answered<S::Response, L>,
    L: Limit,
{
    type Output = Result<S::Response, R::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.stage.as_mut().project() {
                StageProj::Called { future, ticket } => {
                    let result = ready!(future.poll(cx));
                    let ticket = ticket.take();
                    return Poll::Ready(match result {
                        Ok(mut response) => {
                            if let Some(ticket) = ticket {
                                this.answers.answered(ticket, &mut response);
                            }
                            Ok(response)
                        }
                        Err(error) => Err(this.refusal.error(error)),
                    });
                }
                StageProj::Refused { limited } => {
                    return Poll::Ready(this.refusal.refuse(*limited));
                }
                StageProj::Waiting { waiting } => match ready!(waiting.poll(this.answers, cx)) {
                    Waited::Called(future, ticket) => {
                        this.stage.set(Stage::Called { future, ticket: Some(ticket) });
                    }
                    Waited::Refused(limited) => {
                        return Poll::Ready(this.refusal.refuse(limited));
                    }
                    Waited::Unready(error) => return Poll::Ready(Err(this.refusal.error(error))),
                },
            }
        }
    }
}

impl<S: Service<Req>, Req, R, A: OnAnswer<L>, L: Limit> fmt::Debug
    for ResponseFuture<S, Req, R, A, L>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

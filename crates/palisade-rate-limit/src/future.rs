use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{Acquire, Answered, Limited, Limiter, OnAnswer, OnRefusal, PassOn, granted::Granted};

pin_project! {
    /// The future of [`RateLimit`](crate::RateLimit).
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, it leaves the line and takes no token. Dropped
    /// before the inner service is called, it gives its tokens back.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S: Service<Req>, Req, R, A: OnAnswer = PassOn> {
        #[pin]
        stage: Stage<S, Req, S::Future, A::Ticket>,
        refusal: R,
        answers: A,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<S, Req, F, T> {
        // It waits for its tokens, and then for a service that is ready. Boxed, as most need not.
        Waiting { waiting: Box<Waiting<S, Req>> },
        // The inner service works on it. The ticket is handed in with the answer.
        Called { #[pin] future: F, ticket: Option<T> },
        // The limiter refused it.
        Refused { limited: Limited },
    }
}

/// A request that waits.
pub(crate) struct Waiting<S, Req> {
    inner: S,
    // Until it is sent.
    request: Option<Req>,
    cost: u32,
    acquire: Acquire,
    granted: Option<Granted>,
}

impl<S, Req> Waiting<S, Req> {
    pub(crate) fn new(inner: S, request: Req, acquire: Acquire, cost: u32) -> Self {
        Self { inner, request: Some(request), cost, acquire, granted: None }
    }
}

/// What waiting came to.
enum Waited<F, T, E> {
    Called(F, T),
    Refused(Limited),
    Unready(E),
}

impl<S: Service<Req>, Req> Waiting<S, Req> {
    fn poll<A: OnAnswer>(
        &mut self,
        answers: &A,
        cx: &mut Context<'_>,
    ) -> Poll<Waited<S::Future, A::Ticket, S::Error>> {
        if self.granted.is_none() {
            if let Err(limited) = ready!(Pin::new(&mut self.acquire).poll(cx)) {
                return Poll::Ready(Waited::Refused(limited));
            }
            let shared = Arc::clone(self.acquire.shared());
            self.granted = Some(Granted::new(shared, self.cost));
        }
        if let Err(error) = ready!(self.inner.poll_ready(cx)) {
            // At once, however long the future is kept.
            self.granted = None;
            return Poll::Ready(Waited::Unready(error));
        }
        let request = self.request.take().expect("it is sent once");
        if let Some(granted) = self.granted.take() {
            // They are spent, even if it panics: nobody knows how far the call came.
            granted.spend();
        }
        let limiter = Limiter::sharing(self.acquire.shared());
        let ticket = answers.sent(&limiter, self.cost);
        Poll::Ready(Waited::Called(self.inner.call(request), ticket))
    }
}

impl<S: Service<Req>, Req, R, A: OnAnswer> ResponseFuture<S, Req, R, A> {
    #[inline]
    pub(crate) fn called(future: S::Future, ticket: A::Ticket, refusal: R, answers: A) -> Self {
        Self { stage: Stage::Called { future, ticket: Some(ticket) }, refusal, answers }
    }

    pub(crate) fn waiting(waiting: Waiting<S, Req>, refusal: R, answers: A) -> Self {
        Self { stage: Stage::Waiting { waiting: Box::new(waiting) }, refusal, answers }
    }

    pub(crate) fn refused(limited: Limited, refusal: R, answers: A) -> Self {
        Self { stage: Stage::Refused { limited }, refusal, answers }
    }
}

impl<S, Req, R, A> Future for ResponseFuture<S, Req, R, A>
where
    S: Service<Req>,
    R: OnRefusal<S::Response, S::Error>,
    A: Answered<S::Response>,
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

impl<S: Service<Req>, Req, R, A: OnAnswer> fmt::Debug for ResponseFuture<S, Req, R, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

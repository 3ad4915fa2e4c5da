use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use palisade_core::Classify;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    AttemptLimit, Bodies, Budget, Rules, Schedule,
    retrying::{Retrying, Verdict},
    wait::{Due, Wait},
};

pin_project! {
    /// The future of [`Retry`](crate::Retry).
    ///
    /// # Cancel safety
    ///
    /// Dropped during an attempt, it drops the inner service's future. Dropped
    /// during a wait, it sends nothing more, and what it took of the budget
    /// goes back.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B, ResB, C, Q, K, G, M, T>
    where
        S: Service<Request<M::Body>, Response = Response<ResB>>,
        G: Budget,
        M: Bodies<B>,
        T: AttemptLimit<S::Error>,
    {
        #[pin]
        stage: Stage<S::Future, Wait<M::Body, ResB, S::Error>>,
        timer: T::Timer,
        // Nothing, if the request is sent once.
        retrying: Option<Retrying<S, Rules<C, Q, K, G, M, T>, M::Kept, G::Account, G::Ticket>>,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<F, W> {
        // The inner service works on an attempt.
        Called { #[pin] future: F },
        // The next attempt is not due yet, or the inner service is not ready
        // for it. Boxed: it is large, and most calls have none.
        Waiting { wait: Pin<Box<W>> },
        // Nothing more is sent.
        Ended,
    }
}

impl<S, B, ResB, C, Q, K, G, M, T> ResponseFuture<S, B, ResB, C, Q, K, G, M, T>
where
    S: Service<Request<M::Body>, Response = Response<ResB>>,
    G: Budget,
    M: Bodies<B>,
    T: AttemptLimit<S::Error>,
{
    /// The future of a request that is sent once.
    pub(crate) fn once(future: S::Future, timer: T::Timer) -> Self {
        Self { stage: Stage::Called { future }, timer, retrying: None }
    }

    /// The future of a request that may be retried.
    #[expect(clippy::type_complexity, reason = "named once more in the struct, and nowhere else")]
    pub(crate) fn retrying(
        future: S::Future,
        timer: T::Timer,
        retrying: Retrying<S, Rules<C, Q, K, G, M, T>, M::Kept, G::Account, G::Ticket>,
    ) -> Self {
        Self { retrying: Some(retrying), ..Self::once(future, timer) }
    }
}

impl<S, B, ResB, C, Q, K, G, M, T> Future for ResponseFuture<S, B, ResB, C, Q, K, G, M, T>
where
    S: Service<Request<M::Body>, Response = Response<ResB>>,
    ResB: Body,
    C: Classify<Response<ResB>, S::Error>,
    K: Schedule,
    G: Budget,
    M: Bodies<B>,
    T: AttemptLimit<S::Error>,
{
    type Output = Result<Response<ResB>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        // Attempts that fail at once, without a delay, must not keep others
        // waiting: no timeout could fire.
        for _ in 0..TURNS {
            match this.stage.as_mut().project() {
                StageProj::Called { future } => {
                    // The answer first, so that one in hand is never thrown away.
                    let result = match future.poll(cx) {
                        Poll::Ready(result) => result,
                        Poll::Pending => Err(ready!(T::poll(this.timer, cx))),
                    };
                    let Some(retrying) = this.retrying else {
                        return Poll::Ready(result);
                    };
                    match retrying.judge::<B, _, _>(result) {
                        Verdict::Return(result) => return Poll::Ready(result),
                        Verdict::Retry(wait) => this.stage.set(Stage::Waiting { wait }),
                    }
                }
                StageProj::Waiting { wait } => {
                    let retrying = this.retrying.as_mut().expect("only what may be retried waits");
                    let body = match ready!(wait.as_mut().poll(retrying.inner(), cx)) {
                        Due::Attempt(body) => body,
                        Due::Return(original, stop) => {
                            this.stage.set(Stage::Ended);
                            return Poll::Ready(retrying.give_up(original, stop));
                        }
                        Due::Failed(error) => {
                            this.stage.set(Stage::Ended);
                            return Poll::Ready(retrying.unready(error));
                        }
                    };
                    *this.timer = retrying.timer();
                    let request = retrying.request(body);
                    let future = retrying.inner().call(request);
                    this.stage.set(Stage::Called { future });
                }
                StageProj::Ended => panic!("polled after it was ready"),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

const TURNS: u32 = 64;

impl<S, B, ResB, C, Q, K, G, M, T> fmt::Debug for ResponseFuture<S, B, ResB, C, Q, K, G, M, T>
where
    S: Service<Request<M::Body>, Response = Response<ResB>>,
    G: Budget,
    M: Bodies<B>,
    T: AttemptLimit<S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

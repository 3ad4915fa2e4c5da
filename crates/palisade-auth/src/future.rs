use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response, StatusCode};
use http_body::Body;
use palisade_body::Drain;
use palisade_core::{BoxError, HeadCopy};
use pin_project_lite::pin_project;
use tokio::{
    runtime::Handle,
    time::{Sleep, sleep},
};
use tower_service::Service;

use crate::{
    Applied, AuthError, Authenticator, Bodies, InsufficientScope, Refused, Stamp, layer::Rules,
};

pin_project! {
    /// The future of [`Auth`](crate::Auth).
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits for a token, it leaves that to all others. Dropped
    /// during a call, it drops the inner service's future.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B, ResB, A, M>
    where
        S: Service<Request<M::Body>>,
        A: Authenticator,
        M: Bodies<B>,
    {
        #[pin]
        stage: Stage<S, S::Future, ResB, A, M, M::Body, M::Kept>,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<S, F, ResB, A: Authenticator, M, MB, K> {
        // The inner service works on it, with our credentials or without.
        Called { #[pin] future: F, sent: Option<Sent<S, A, M, K>>, ours: bool },
        // There is no token for it, or the one that it had was refused; or the
        // inner service is not ready for it. Boxed: most calls have none.
        Pending { pending: Pin<Box<Pending<S, ResB, A, M, MB, K>>> },
        // It is not sent.
        Failed { error: Option<AuthError> },
    }
}

/// What is known of a request that was sent, in case its token is refused.
pub(crate) struct Sent<S, A, M, K> {
    rules: Arc<Rules<A, M>>,
    stamp: Stamp,
    // Nothing, if it is sent once.
    kept: Option<Box<Kept<S, K>>>,
}

/// What a second try is made of.
pub(crate) struct Kept<S, K> {
    inner: S,
    head: HeadCopy,
    body: K,
}

pin_project! {
    /// A request that waits.
    pub(crate) struct Pending<S, ResB, A: Authenticator, M, MB, K> {
        rules: Arc<Rules<A, M>>,
        inner: S,
        // Until it is sent.
        request: Option<Request<MB>>,
        kept: Option<Box<Kept<S, K>>>,
        #[pin]
        wait: Option<A::Wait>,
        // Of its credentials, once it has them.
        stamp: Option<Stamp>,
        // The response that refused the token is read to its end meanwhile, so
        // that its connection can carry the second try.
        #[pin]
        drain: Option<Drain<ResB>>,
        // When its end is waited for no longer.
        #[pin]
        grace: Option<Sleep>,
        // Whether it is the second try.
        again: bool,
    }
}

/// What becomes of a response that refuses a token.
enum Verdict<R, P> {
    Stands(R),
    Again(Box<P>),
}

impl<S, A, M, K> Sent<S, A, M, K> {
    pub(crate) fn new(
        rules: Arc<Rules<A, M>>,
        stamp: Stamp,
        kept: Option<Box<Kept<S, K>>>,
    ) -> Self {
        Self { rules, stamp, kept }
    }

    #[expect(clippy::type_complexity, reason = "named once more in the stages, and nowhere else")]
    #[cold]
    fn refused<B, ResB>(
        self,
        response: Response<ResB>,
    ) -> Verdict<Response<ResB>, Pending<S, ResB, A, M, M::Body, K>>
    where
        ResB: Body,
        A: Authenticator,
        M: Bodies<B, Kept = K>,
    {
        let Self { rules, stamp, kept } = self;
        let wait = match rules.authenticator.refused(stamp, &response) {
            Refused::Final => return Verdict::Stands(response),
            Refused::Replay => None,
            Refused::Wait(wait) => Some(wait),
        };
        let Some(kept) = kept else {
            return Verdict::Stands(response);
        };
        let Kept { inner, mut head, body } = *kept;
        let Some(body) = rules.bodies.again(body) else {
            return Verdict::Stands(response);
        };
        head.count_resend();
        let request = head.rebuild().map(|()| body);
        let drain = Some(Drain::new(response.into_body(), DRAIN));
        Verdict::Again(Box::new(Pending {
            rules,
            inner,
            request: Some(request),
            kept: None,
            wait,
            stamp: None,
            drain,
            grace: None,
            again: true,
        }))
    }
}

impl<S, K> Kept<S, K> {
    pub(crate) fn new(head: HeadCopy, body: K, inner: S) -> Self {
        Self { inner, head, body }
    }
}

impl<S, ResB, A: Authenticator, M, MB, K> Pending<S, ResB, A, M, MB, K> {
    pub(crate) fn first(
        rules: Arc<Rules<A, M>>,
        inner: S,
        request: Request<MB>,
        kept: Option<Box<Kept<S, K>>>,
        wait: A::Wait,
    ) -> Self {
        Self {
            rules,
            inner,
            request: Some(request),
            kept,
            wait: Some(wait),
            stamp: None,
            drain: None,
            grace: None,
            again: false,
        }
    }
}

impl<S, ResB, A, M, MB, K> Pending<S, ResB, A, M, MB, K>
where
    S: Service<Request<MB>, Error: Into<BoxError>>,
    ResB: Body,
    A: Authenticator,
{
    /// Ready when the request can be sent, or cannot be at all.
    fn poll_due(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // Whatever else is waited for.
        let drained = self.as_mut().poll_drain(cx);
        if let Err(error) = ready!(self.as_mut().poll_credentials(cx)) {
            let this = self.project();
            if let Some(request) = this.request {
                this.rules.refuse(request, "no_token", &error);
            }
            return Poll::Ready(Err(error.into()));
        }
        if drained.is_pending() && self.as_mut().poll_grace(cx).is_pending() {
            return Poll::Pending;
        }
        let mut this = self.project();
        this.drain.set(None);
        this.inner.poll_ready(cx).map_err(Into::into)
    }

    /// Sends the request.
    #[expect(clippy::type_complexity, reason = "named once more in the stages, and nowhere else")]
    fn send(self: Pin<&mut Self>) -> (S::Future, Option<Sent<S, A, M, K>>) {
        let this = self.project();
        let request = this.request.take().expect("it is sent once");
        let first = this.stamp.filter(|_| !*this.again);
        let sent = first.map(|stamp| Sent::new(Arc::clone(this.rules), stamp, this.kept.take()));
        (this.inner.call(request), sent)
    }

    fn poll_credentials(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), AuthError>> {
        let mut this = self.project();
        while this.stamp.is_none() {
            if let Some(wait) = this.wait.as_mut().as_pin_mut() {
                ready!(wait.poll(cx))?;
            }
            let request = this.request.as_mut().expect("it is not sent yet");
            let applied = this.rules.authenticator.apply(request);
            // What was waited for stays until it is used.
            this.wait.set(None);
            match applied {
                Applied::Done(stamp) => *this.stamp = Some(stamp),
                Applied::Wait(wait) => this.wait.set(Some(wait)),
                Applied::Failed(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_drain(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if let Some(drain) = this.drain.as_mut().as_pin_mut() {
            let _ = ready!(drain.poll(cx));
            this.drain.set(None);
        }
        Poll::Ready(())
    }

    /// For less than it takes to make a connection across an ocean.
    fn poll_grace(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if this.grace.is_none() && Handle::try_current().is_ok() {
            this.grace.set(Some(sleep(GRACE)));
        }
        match this.grace.as_pin_mut() {
            Some(grace) => grace.poll(cx),
            None => Poll::Ready(()),
        }
    }
}

const GRACE: Duration = Duration::from_millis(50);
const DRAIN: usize = 8 * 1024;

impl<S, B, ResB, A, M> ResponseFuture<S, B, ResB, A, M>
where
    S: Service<Request<M::Body>>,
    A: Authenticator,
    M: Bodies<B>,
{
    #[inline]
    pub(crate) fn called(future: S::Future, sent: Option<Sent<S, A, M, M::Kept>>) -> Self {
        Self { stage: Stage::Called { future, sent, ours: true } }
    }

    pub(crate) fn around(future: S::Future) -> Self {
        Self { stage: Stage::Called { future, sent: None, ours: false } }
    }

    pub(crate) fn pending(pending: Pending<S, ResB, A, M, M::Body, M::Kept>) -> Self {
        Self { stage: Stage::Pending { pending: Box::pin(pending) } }
    }

    pub(crate) fn failed(error: AuthError) -> Self {
        Self { stage: Stage::Failed { error: Some(error) } }
    }
}

impl<S, B, ResB, A, M> Future for ResponseFuture<S, B, ResB, A, M>
where
    S: Service<Request<M::Body>, Response = Response<ResB>, Error: Into<BoxError>>,
    ResB: Body,
    A: Authenticator,
    M: Bodies<B>,
{
    type Output = Result<Response<ResB>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut stage = self.project().stage;
        loop {
            match stage.as_mut().project() {
                StageProj::Called { future, sent, ours } => {
                    let mut response = ready!(future.poll(cx)).map_err(Into::into)?;
                    let refused = response.status() == StatusCode::UNAUTHORIZED;
                    if !(refused || response.status() == StatusCode::FORBIDDEN) || !*ours {
                        return Poll::Ready(Ok(response));
                    }
                    InsufficientScope::tell(&mut response);
                    let Some(sent) = sent.take().filter(|_| refused) else {
                        return Poll::Ready(Ok(response));
                    };
                    match sent.refused(response) {
                        Verdict::Stands(response) => return Poll::Ready(Ok(response)),
                        Verdict::Again(pending) => {
                            stage.set(Stage::Pending { pending: Box::into_pin(pending) });
                        }
                    }
                }
                StageProj::Pending { pending } => {
                    ready!(pending.as_mut().poll_due(cx))?;
                    let (future, sent) = pending.as_mut().send();
                    stage.set(Stage::Called { future, sent, ours: true });
                }
                StageProj::Failed { error } => {
                    let error = error.take().expect("polled after it was ready");
                    return Poll::Ready(Err(error.into()));
                }
            }
        }
    }
}

impl<S, B, ResB, A, M> fmt::Debug for ResponseFuture<S, B, ResB, A, M>
where
    S: Service<Request<M::Body>>,
    A: Authenticator,
    M: Bodies<B>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

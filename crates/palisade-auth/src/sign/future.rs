use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response, Uri};
use palisade_core::BoxError;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{BodyDigest, Sign, SignedBody, Signing, layer::Rules};
use crate::AuthError;

pin_project! {
    /// The future of [`Signed`](crate::Signed).
    ///
    /// # Cancel safety
    ///
    /// Dropped, it drops the inner service's future, or what is waited for.
    #[must_use = "futures do nothing unless polled"]
    pub struct SigningFuture<S, B, G>
    where
        S: Service<Request<SignedBody<B>>>,
        G: Sign,
    {
        #[pin]
        stage: Stage<S, S::Future, B, G>,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<S, F, B, G: Sign> {
        // The inner service works on it.
        Called { #[pin] future: F, heard: Option<Heard<G>> },
        // There is no key yet, or the inner service is not ready. Boxed: most calls
        // have none.
        Pending { pending: Pin<Box<Pending<S, B, G>>> },
        // It is not sent.
        Failed { error: Option<AuthError> },
    }
}

/// For a signer that hears of answers.
pub(super) struct Heard<G> {
    rules: Arc<Rules<G>>,
    uri: Uri,
}

impl<G: Sign> Heard<G> {
    pub(super) fn of<B>(rules: &Arc<Rules<G>>, request: &Request<B>) -> Option<Self> {
        let hears = rules.signer().hears_answers();
        hears.then(|| Self { rules: Arc::clone(rules), uri: request.uri().clone() })
    }
}

pin_project! {
    /// A request that waits.
    pub(super) struct Pending<S, B, G: Sign> {
        rules: Arc<Rules<G>>,
        inner: S,
        // Until it is sent.
        request: Option<Request<SignedBody<B>>>,
        digest: BodyDigest,
        #[pin]
        wait: Option<G::Wait>,
        signed: bool,
    }
}

impl<S, B, G: Sign> Pending<S, B, G> {
    pub(super) fn new(
        rules: Arc<Rules<G>>,
        inner: S,
        request: Request<SignedBody<B>>,
        digest: BodyDigest,
        wait: G::Wait,
    ) -> Self {
        let (request, wait) = (Some(request), Some(wait));
        Self { rules, inner, request, digest, wait, signed: false }
    }

    /// Ready when it is signed, or cannot be.
    fn poll_signed(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), AuthError>> {
        let mut this = self.project();
        while !*this.signed {
            if let Some(wait) = this.wait.as_mut().as_pin_mut() {
                ready!(wait.poll(cx))?;
            }
            let request = this.request.take().expect("it is not sent yet");
            let (mut parts, body) = request.into_parts();
            let signing = this.rules.sign(&mut parts, *this.digest);
            *this.request = Some(Request::from_parts(parts, body));
            // What was waited for stays until it is used.
            this.wait.set(None);
            match signing {
                Signing::Done => *this.signed = true,
                Signing::Wait(wait) => this.wait.set(Some(wait)),
                Signing::Failed(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S, B, G> Pending<S, B, G>
where
    S: Service<Request<SignedBody<B>>, Error: Into<BoxError>>,
    G: Sign,
{
    /// Ready when the request can be sent, or cannot be at all.
    fn poll_due(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if let Err(error) = ready!(self.as_mut().poll_signed(cx)) {
            let this = self.project();
            if let Some(request) = this.request {
                this.rules.refuse(request, "no_signature", &error);
            }
            return Poll::Ready(Err(error.into()));
        }
        self.project().inner.poll_ready(cx).map_err(Into::into)
    }

    fn send(self: Pin<&mut Self>) -> (S::Future, Option<Heard<G>>) {
        let this = self.project();
        let request = this.request.take().expect("it is sent once");
        let heard = Heard::of(this.rules, &request);
        (this.inner.call(request), heard)
    }
}

impl<S, B, G> SigningFuture<S, B, G>
where
    S: Service<Request<SignedBody<B>>>,
    G: Sign,
{
    pub(super) fn called(future: S::Future, heard: Option<Heard<G>>) -> Self {
        Self { stage: Stage::Called { future, heard } }
    }

    pub(super) fn pending(pending: Pending<S, B, G>) -> Self {
        Self { stage: Stage::Pending { pending: Box::pin(pending) } }
    }

    pub(super) fn failed(error: AuthError) -> Self {
        Self { stage: Stage::Failed { error: Some(error) } }
    }
}

impl<S, B, ResB, G> Future for SigningFuture<S, B, G>
where
    S: Service<Request<SignedBody<B>>, Response = Response<ResB>, Error: Into<BoxError>>,
    G: Sign,
{
    type Output = Result<Response<ResB>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut stage = self.project().stage;
        loop {
            match stage.as_mut().project() {
                StageProj::Called { future, heard } => {
                    let response = ready!(future.poll(cx)).map_err(Into::into)?;
                    if let Some(Heard { rules, uri }) = heard.take() {
                        rules.signer().answered(&uri, response.status(), response.headers());
                    }
                    return Poll::Ready(Ok(response));
                }
                StageProj::Pending { pending } => {
                    ready!(pending.as_mut().poll_due(cx))?;
                    let (future, heard) = pending.as_mut().send();
                    stage.set(Stage::Called { future, heard });
                }
                StageProj::Failed { error } => {
                    let error = error.take().expect("polled after it was ready");
                    return Poll::Ready(Err(error.into()));
                }
            }
        }
    }
}

impl<S, B, G> fmt::Debug for SigningFuture<S, B, G>
where
    S: Service<Request<SignedBody<B>>>,
    G: Sign,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningFuture").finish_non_exhaustive()
    }
}

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use palisade_core::{BoxError, ErrorKind, Event, Head, Target};
use tower_service::Service;

use super::{
    BodyDigest, Sign, SignedBody, Signing, SigningFuture, Unsignable,
    future::{Heard, Pending},
    layer::Rules,
};
use crate::{AuthBypass, AuthError, Recovery};

/// Signs requests.
///
/// Made by [`SignLayer`](crate::SignLayer). It is ready when the inner service is.
/// The inner service is cloned for each call that has to wait for a key.
pub struct Signed<S, G> {
    inner: S,
    rules: Arc<Rules<G>>,
}

impl<S, G> Signed<S, G> {
    pub(super) fn new(inner: S, rules: Arc<Rules<G>>) -> Self {
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

impl<S: Clone, G> Clone for Signed<S, G> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), Arc::clone(&self.rules))
    }
}

impl<S: fmt::Debug, G> fmt::Debug for Signed<S, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, B, ResB, G> Service<Request<B>> for Signed<S, G>
where
    S: Service<Request<SignedBody<B>>, Response = Response<ResB>, Error: Into<BoxError>> + Clone,
    B: Body<Error: Into<BoxError>> + Unpin,
    G: Sign,
{
    type Response = Response<ResB>;
    type Error = BoxError;
    type Future = SigningFuture<S, B, G>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let rules = &self.rules;
        let bypass = request.extensions().get::<AuthBypass>().is_some();
        if bypass || !rules.origins.contains(request.uri()) {
            if !bypass && rules.outside_fails {
                let message = "the request goes to an origin for which nothing is signed";
                let error = AuthError::new(message, Recovery::FixRequest);
                return rules.fail(&request, "outside", error);
            }
            return SigningFuture::called(self.inner.call(request.map(SignedBody::unread)), None);
        }

        let (mut parts, body) = request.into_parts();
        let (body, digest) = match rules.read(body) {
            Ok(read) => read,
            Err(unsignable) => {
                let error = AuthError::new("the request cannot be signed", Recovery::FixRequest);
                let error = error.with_source(unsignable);
                return rules.fail(&Request::from_parts(parts, ()), "body", error);
            }
        };
        let signing = rules.sign(&mut parts, digest);
        let request = Request::from_parts(parts, body);
        match signing {
            Signing::Done => {
                let heard = Heard::of(rules, &request);
                SigningFuture::called(self.inner.call(request), heard)
            }
            Signing::Wait(wait) => {
                // Nobody keeps the one that is ready: what it holds may be what the
                // key is waited for.
                let inner = self.inner.clone();
                self.inner = inner.clone();
                let rules = Arc::clone(rules);
                SigningFuture::pending(Pending::new(rules, inner, request, digest, wait))
            }
            Signing::Failed(error) => rules.fail(&request, "no_signature", error),
        }
    }
}

impl<G: Sign> Rules<G> {
    fn read<B>(&self, body: B) -> Result<(SignedBody<B>, BodyDigest), Unsignable>
    where
        B: Body<Error: Into<BoxError>> + Unpin,
    {
        if !self.signer().reads_body() {
            return Ok((SignedBody::unread(body), BodyDigest::Unread));
        }
        match SignedBody::read(body, self.longest_body) {
            Ok((_, BodyDigest::Unread)) if !self.unsigned_bodies => Err(Unsignable::streaming()),
            Ok(read) => Ok(read),
            Err(error) => Err(Unsignable::broken(error.into())),
        }
    }

    #[cold]
    fn fail<S, B, T>(
        &self,
        request: &Request<T>,
        reason: &'static str,
        error: AuthError,
    ) -> SigningFuture<S, B, G>
    where
        S: Service<Request<SignedBody<B>>>,
    {
        self.refuse(request, reason, &error);
        SigningFuture::failed(error)
    }

    /// Tells that a request is not sent.
    #[cold]
    pub(super) fn refuse<B>(&self, request: &Request<B>, reason: &'static str, error: &AuthError) {
        if let Some(observer) = self.observer.get() {
            let event = Event::Refused {
                kind: ErrorKind::Auth,
                reason,
                retry_after: error.retry_after(),
                enforced: true,
            };
            observer.on_event(Target::of(Head::of(request)), &event);
        }
    }
}

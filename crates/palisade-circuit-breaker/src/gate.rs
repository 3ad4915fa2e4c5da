use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{Assign, AtHead, ErrorsFail, OnRefusal, Open, Refuse, Single, layer::Rules};

/// Makes services that refuse what the breakers of another layer would refuse.
///
/// Made by [`CircuitBreakerLayer::gate`](crate::CircuitBreakerLayer::gate).
#[must_use]
pub struct GateLayer<C = ErrorsFail, K = Single, R = Refuse, P = AtHead> {
    rules: Arc<Rules<C, K, R, P>>,
}

impl<C, K, R, P> GateLayer<C, K, R, P> {
    pub(crate) fn new(rules: Arc<Rules<C, K, R, P>>) -> Self {
        Self { rules }
    }
}

impl<C, K, R, P> Clone for GateLayer<C, K, R, P> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.rules))
    }
}

impl<C, K, R, P> fmt::Debug for GateLayer<C, K, R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GateLayer").finish_non_exhaustive()
    }
}

impl<S, C, K, R, P> Layer<S> for GateLayer<C, K, R, P> {
    type Service = Gate<S, C, K, R, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Gate { inner, rules: Arc::clone(&self.rules) }
    }
}

/// Refuses what a breaker further in is sure to refuse, and counts nothing.
///
/// Made by [`GateLayer`]. It is ready when the inner service is.
pub struct Gate<S, C = ErrorsFail, K = Single, R = Refuse, P = AtHead> {
    inner: S,
    rules: Arc<Rules<C, K, R, P>>,
}

impl<S: Clone, C, K, R, P> Clone for Gate<S, C, K, R, P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), rules: Arc::clone(&self.rules) }
    }
}

impl<S: fmt::Debug, C, K, R, P> fmt::Debug for Gate<S, C, K, R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, Req, C, K, R, P> Service<Req> for Gate<S, C, K, R, P>
where
    S: Service<Req>,
    K: Assign<Req>,
    R: OnRefusal<S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = R::Error;
    type Future = GateFuture<S::Future, C, K, R, P>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), R::Error>> {
        self.inner.poll_ready(cx).map_err(|error| self.rules.refusal.error(error))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let rules = Arc::clone(&self.rules);
        let lease = rules.scope.lease(&request);
        let breaker = rules.scope.leased(&lease).map(|handle| handle.shared());
        let refused = breaker.and_then(|breaker| {
            let open = breaker.refusal(|| breaker.settings.now())?;
            breaker.tell_refusal(&open, true);
            Some(open)
        });
        let stage = match refused {
            Some(open) => Stage::Refused { open },
            None => Stage::Called { future: self.inner.call(request) },
        };
        GateFuture { stage, rules }
    }
}

pin_project! {
    /// The future of [`Gate`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, it drops the inner service's future.
    #[must_use = "futures do nothing unless polled"]
    pub struct GateFuture<F, C, K, R, P> {
        #[pin]
        stage: Stage<F>,
        rules: Arc<Rules<C, K, R, P>>,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<F> {
        // The inner service works on it.
        Called { #[pin] future: F },
        // The breaker would refuse it.
        Refused { open: Open },
    }
}

impl<F, Res, Err, C, K, R, P> Future for GateFuture<F, C, K, R, P>
where
    F: Future<Output = Result<Res, Err>>,
    R: OnRefusal<Res, Err>,
{
    type Output = Result<Res, R::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.stage.project() {
            StageProj::Called { future } => {
                future.poll(cx).map_err(|error| this.rules.refusal.error(error))
            }
            StageProj::Refused { open } => Poll::Ready(this.rules.refusal.refuse(*open)),
        }
    }
}

impl<F, C, K, R, P> fmt::Debug for GateFuture<F, C, K, R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GateFuture").finish_non_exhaustive()
    }
}

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use palisade_core::BoxError;
use tower_layer::Layer;
use tower_service::Service;

use crate::{Acquire, Limiter, PassOn, Refuse, ResponseFuture, granted::Granted};

/// Makes services that are not ready while there is no token.
///
/// Made by [`RateLimitLayer::backpressure`](crate::RateLimitLayer::backpressure).
#[derive(Clone, Debug)]
#[must_use]
pub struct BackpressureLayer {
    limiter: Limiter,
}

impl BackpressureLayer {
    pub(crate) fn new(limiter: Limiter) -> Self {
        Self { limiter }
    }

    /// The limiter.
    pub fn handle(&self) -> Limiter {
        self.limiter.clone()
    }
}

impl<S> Layer<S> for BackpressureLayer {
    type Service = Backpressure<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Backpressure::new(inner, self.limiter.clone())
    }
}

/// Is not ready until there is a token for a call.
///
/// Ready, it holds the token of one call. Dropped without that, it gives the
/// token back. It stands in line while it is not ready, so who polls it once
/// and then keeps it holds up the others: drop it, or clone it again.
///
/// # Panics
///
/// To wait, it needs a tokio runtime whose timer is enabled.
pub struct Backpressure<S> {
    inner: S,
    limiter: Limiter,
    stage: Stage,
}

enum Stage {
    // Nobody has asked for a call.
    Idle,
    // It waits for its token.
    Waiting { acquire: Box<Acquire> },
    // It has one, and the inner service may not be ready.
    Granted { granted: Granted<Limiter> },
}

impl<S> Backpressure<S> {
    fn new(inner: S, limiter: Limiter) -> Self {
        Self { inner, limiter, stage: Stage::Idle }
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

/// Without the token.
impl<S: Clone> Clone for Backpressure<S> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.limiter.clone())
    }
}

impl<S: fmt::Debug> fmt::Debug for Backpressure<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backpressure").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, Req> Service<Req> for Backpressure<S>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S, Req, Refuse>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        loop {
            match &mut self.stage {
                Stage::Idle => {
                    let shared = self.limiter.shared();
                    self.stage = match shared.try_take(|| shared.settings().now(), 1) {
                        Ok(()) => Stage::Granted { granted: Granted::new(self.limiter.clone(), 1) },
                        Err(_) => Stage::Waiting { acquire: Box::new(self.limiter.acquire(1)) },
                    };
                }
                Stage::Waiting { acquire } => {
                    let acquired = ready!(Pin::new(&mut **acquire).poll(cx));
                    self.stage = Stage::Idle;
                    acquired?;
                    let granted = Granted::new(self.limiter.clone(), 1);
                    self.stage = Stage::Granted { granted };
                }
                Stage::Granted { .. } => return self.inner.poll_ready(cx).map_err(Into::into),
            }
        }
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        if let Stage::Granted { granted } = std::mem::replace(&mut self.stage, Stage::Idle) {
            granted.spend();
        }
        ResponseFuture::called(self.inner.call(request), (), Refuse, PassOn)
    }
}

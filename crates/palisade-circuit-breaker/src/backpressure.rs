use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use palisade_core::Classify;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    AtHead, CircuitBreakerHandle, ErrorsFail, RecordAt, Refuse, Single,
    breaker::{Token, grade},
    future::{CallFuture, Held},
    layer::Rules,
    ongoing::{Ongoing, poll_ready},
    word::Grade,
};

/// Makes services wait for a breaker instead of being refused.
///
/// Made by [`CircuitBreakerLayer::backpressure`](crate::CircuitBreakerLayer::backpressure).
#[must_use]
pub struct BackpressureLayer<C = ErrorsFail, P = AtHead> {
    rules: Arc<Rules<C, Single, Refuse, P>>,
}

impl<C, P> BackpressureLayer<C, P> {
    pub(crate) fn new(rules: Arc<Rules<C, Single, Refuse, P>>) -> Self {
        Self { rules }
    }

    /// The breaker.
    pub fn handle(&self) -> CircuitBreakerHandle {
        self.rules.scope.breaker().clone()
    }
}

impl<C, P> Clone for BackpressureLayer<C, P> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.rules))
    }
}

impl<C, P> fmt::Debug for BackpressureLayer<C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackpressureLayer").field("breaker", &self.handle()).finish_non_exhaustive()
    }
}

impl<S, C, P> Layer<S> for BackpressureLayer<C, P> {
    type Service = Backpressure<S, C, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Backpressure::new(inner, Arc::clone(&self.rules))
    }
}

/// Is not ready while its breaker refuses calls.
///
/// Who waits is woken when the state changes, and when it ends by itself. While
/// the breaker ramps up, calls are thinned out by making them wait.
///
/// Ready, it has let one call in: that call is made whatever becomes of the
/// breaker meanwhile, and never refused, so the error type is that of the inner
/// service. A service that was ready and is not called holds a permit of a
/// half-open breaker until it is dropped, or the breaker's patience ends.
///
/// # Panics
///
/// To wait, it needs a tokio runtime whose timer is enabled.
pub struct Backpressure<S, C = ErrorsFail, P = AtHead> {
    inner: S,
    rules: Arc<Rules<C, Single, Refuse, P>>,
    stage: Stage,
}

enum Stage {
    // Nobody has asked for a call.
    Idle,
    // The breaker refuses calls.
    Waiting { changed: Pin<Box<dyn Future<Output = ()> + Send + Sync>> },
    // A call is let in, and not made yet.
    Admitted { reserved: Reserved, promised: bool },
}

/// A call that was let in and may never be made: then nothing counts.
struct Reserved {
    breaker: CircuitBreakerHandle,
    token: Token,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let breaker = self.breaker.shared();
        breaker.record(self.token, Grade::Ignore, || None, || breaker.settings.now());
    }
}

impl<S, C, P> Backpressure<S, C, P> {
    fn new(inner: S, rules: Arc<Rules<C, Single, Refuse, P>>) -> Self {
        Self { inner, rules, stage: Stage::Idle }
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

    /// What a call takes along that begins now.
    fn begin(&mut self) -> Token {
        let breaker = self.rules.scope.breaker().shared();
        let now = || breaker.settings.now();
        let kept = match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Admitted { mut reserved, .. } => {
                let token = std::mem::replace(&mut reserved.token, Token::UNCOUNTED);
                breaker.begin(token, now)
            }
            _ => None,
        };
        // The state has changed since: it counts in the new one, or nowhere.
        kept.unwrap_or_else(|| breaker.admit(now).unwrap_or(Token::UNCOUNTED))
    }
}

impl<S: Clone, C, P> Clone for Backpressure<S, C, P> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), Arc::clone(&self.rules))
    }
}

impl<S: fmt::Debug, C, P> fmt::Debug for Backpressure<S, C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backpressure").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, Req, C, P> Service<Req> for Backpressure<S, C, P>
where
    S: Service<Req>,
    C: Classify<S::Response, S::Error>,
    P: RecordAt<S::Response>,
{
    type Response = P::Response;
    type Error = S::Error;
    type Future = CallFuture<S::Future, C, Single, Refuse, P>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let handle = self.rules.scope.breaker();
        let breaker = handle.shared();
        let now = || breaker.settings.now();
        loop {
            match &mut self.stage {
                Stage::Idle => match breaker.admit(now) {
                    Ok(token) => {
                        let reserved = Reserved { breaker: handle.clone(), token };
                        self.stage = Stage::Admitted { reserved, promised: false };
                    }
                    Err(open) => {
                        let handle = handle.clone();
                        let changed = Box::pin(async move { handle.changed(open).await });
                        self.stage = Stage::Waiting { changed };
                    }
                },
                Stage::Waiting { .. } => {
                    // Idle meanwhile, in case that there is no timer, and it panics.
                    let mut waiting = std::mem::replace(&mut self.stage, Stage::Idle);
                    if let Stage::Waiting { changed } = &mut waiting
                        && changed.as_mut().poll(cx).is_pending()
                    {
                        self.stage = waiting;
                        return Poll::Pending;
                    }
                }
                Stage::Admitted { reserved, promised } => {
                    let polled = poll_ready(Some(breaker), || self.inner.poll_ready(cx));
                    let Err(error) = ready!(polled) else {
                        // It may have opened while the inner service got ready. Who was told that
                        // this one is ready may rely on it.
                        if !*promised && breaker.begin(reserved.token, now).is_none() {
                            self.stage = Stage::Idle;
                            continue;
                        }
                        *promised = true;
                        return Poll::Ready(Ok(()));
                    };
                    let outcome = self.rules.classify.classify(Err(&error));
                    let token = self.begin();
                    let breaker = self.rules.scope.breaker().shared();
                    breaker.record(token, grade(outcome), || None, || breaker.settings.now());
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let token = self.begin();
        let mut ongoing = Ongoing::new(Held::new(Arc::clone(&self.rules), ()), token);
        let future = ongoing.work(|| self.inner.call(request));
        CallFuture::new(future, ongoing)
    }
}

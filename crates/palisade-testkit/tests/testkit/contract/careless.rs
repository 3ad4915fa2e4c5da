//! Layers that are wrong as a whole.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use palisade_core::BoxError;
use palisade_testkit::ProbeRequest;
use tower_layer::Layer;
use tower_service::Service;

/// Goes on with the call on its own when the future is dropped, and afterwards, for ever.
#[derive(Clone)]
pub(super) struct SpawningLayer;

impl<S> Layer<S> for SpawningLayer {
    type Service = Spawning<S>;

    fn layer(&self, inner: S) -> Spawning<S> {
        Spawning { inner }
    }
}

#[derive(Clone)]
pub(super) struct Spawning<S> {
    inner: S,
}

type Boxed<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

impl<S> Service<ProbeRequest> for Spawning<S>
where
    S: Service<ProbeRequest, Response: Send, Error: Into<BoxError> + Send>,
    S::Response: 'static,
    S::Error: 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Boxed<S::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: ProbeRequest) -> Self::Future {
        let future = self.inner.call(request);
        let task = tokio::runtime::Handle::current().spawn(future);
        Box::pin(async move {
            match task.await {
                Ok(outcome) => outcome.map_err(Into::into),
                Err(error) => Err(error.into()),
            }
        })
    }
}

/// Counts its calls in line, where each clone has a count of its own.
#[derive(Clone)]
pub(super) struct CountingLayer;

impl<S> Layer<S> for CountingLayer {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Counting<S> {
        Counting { inner, calls: 0 }
    }
}

#[derive(Clone)]
pub(super) struct Counting<S> {
    inner: S,
    calls: usize,
}

impl<S> Counting<S> {
    pub(super) fn calls(&self) -> usize {
        self.calls
    }
}

impl<S: Service<ProbeRequest>> Service<ProbeRequest> for Counting<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: ProbeRequest) -> S::Future {
        self.calls += 1;
        self.inner.call(request)
    }
}

/// Takes a permit from a pool for each call, and never gives one back.
#[derive(Clone)]
pub(super) struct LeakingLayer {
    permits: Arc<AtomicUsize>,
}

impl LeakingLayer {
    pub(super) fn new(permits: usize) -> Self {
        let permits = Arc::new(AtomicUsize::new(permits));
        Self { permits }
    }
}

impl<S> Layer<S> for LeakingLayer {
    type Service = Leaking<S>;

    fn layer(&self, inner: S) -> Leaking<S> {
        let permits = Arc::clone(&self.permits);
        Leaking { inner, permits }
    }
}

#[derive(Clone)]
pub(super) struct Leaking<S> {
    inner: S,
    permits: Arc<AtomicUsize>,
}

impl<S: Service<ProbeRequest>> Service<ProbeRequest> for Leaking<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        match self.permits.load(Ordering::Relaxed) {
            0 => Poll::Pending,
            _ => self.inner.poll_ready(cx),
        }
    }

    fn call(&mut self, request: ProbeRequest) -> S::Future {
        self.permits.fetch_sub(1, Ordering::Relaxed);
        self.inner.call(request)
    }
}

//! Layers that keep the contract.

use std::{
    error::Error,
    future::Future,
    marker::PhantomData,
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http::Response;
use palisade_core::BoxError;
use palisade_testkit::ProbeRequest;
use tower::retry::Policy;
use tower_layer::Layer;
use tower_service::Service;

/// Boxes the inner future, whatever it is.
#[derive(Clone)]
pub(super) struct BoxingLayer;

impl<S> Layer<S> for BoxingLayer {
    type Service = Boxing<S>;

    fn layer(&self, inner: S) -> Boxing<S> {
        Boxing { inner }
    }
}

#[derive(Clone)]
pub(super) struct Boxing<S> {
    inner: S,
}

impl<S: Service<ProbeRequest>> Service<ProbeRequest> for Boxing<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: ProbeRequest) -> Self::Future {
        Box::pin(self.inner.call(request))
    }
}

/// Is ready on its own and waits for the inner service in the call, as a cache does.
#[derive(Clone)]
pub(super) struct LateLayer;

impl<S> Layer<S> for LateLayer {
    type Service = Late<S>;

    fn layer(&self, inner: S) -> Late<S> {
        Late { inner }
    }
}

#[derive(Clone)]
pub(super) struct Late<S> {
    inner: S,
}

impl<S> Service<ProbeRequest> for Late<S>
where
    S: Service<ProbeRequest, Future: Unpin> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = LateFuture<S>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: ProbeRequest) -> LateFuture<S> {
        let fresh = self.inner.clone();
        let service = mem::replace(&mut self.inner, fresh);
        let request = Some(Box::new(request));
        LateFuture::Waiting { service, request }
    }
}

pub(super) enum LateFuture<S: Service<ProbeRequest>> {
    Waiting { service: S, request: Option<Box<ProbeRequest>> },
    Called(S::Future),
}

impl<S: Service<ProbeRequest, Future: Unpin>> Unpin for LateFuture<S> {}

impl<S: Service<ProbeRequest, Future: Unpin>> Future for LateFuture<S> {
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Self::Waiting { service, request } = this {
            ready!(service.poll_ready(cx))?;
            let request = request.take().expect("the request waits for the service");
            let future = service.call(*request);
            *this = Self::Called(future);
        }
        match this {
            Self::Called(future) => Pin::new(future).poll(cx),
            Self::Waiting { .. } => unreachable!(),
        }
    }
}

/// Needs to know which kind of error the inner service has, and has it inferred.
pub(super) struct MarkedLayer<M> {
    marker: PhantomData<fn() -> M>,
}

impl<M> MarkedLayer<M> {
    pub(super) fn inferred() -> Self {
        let marker = PhantomData;
        Self { marker }
    }

    pub(super) fn option(self) -> Self {
        self
    }
}

impl<M, S> Layer<S> for MarkedLayer<M> {
    type Service = Marked<M, S>;

    fn layer(&self, inner: S) -> Marked<M, S> {
        let marker = self.marker;
        Marked { inner, marker }
    }
}

pub(super) struct Marked<M, S> {
    inner: S,
    marker: PhantomData<fn() -> M>,
}

impl<M, S: Clone> Clone for Marked<M, S> {
    fn clone(&self) -> Self {
        let inner = self.inner.clone();
        let marker = self.marker;
        Self { inner, marker }
    }
}

/// Looks into errors of each kind; coherence needs the marker.
pub(super) trait LookInto<E, M> {}

pub(super) struct Rules;
pub(super) struct Typed;
pub(super) struct Erased;

impl<E: Error + Send + Sync + 'static> LookInto<E, Typed> for Rules {}
impl LookInto<BoxError, Erased> for Rules {}

impl<M, S> Service<ProbeRequest> for Marked<M, S>
where
    S: Service<ProbeRequest>,
    Rules: LookInto<S::Error, M>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: ProbeRequest) -> S::Future {
        self.inner.call(request)
    }
}

/// Counts its calls for all clones and routes.
#[derive(Clone, Default)]
pub(super) struct TallyLayer {
    calls: Arc<AtomicUsize>,
}

impl<S> Layer<S> for TallyLayer {
    type Service = Tally<S>;

    fn layer(&self, inner: S) -> Tally<S> {
        let calls = Arc::clone(&self.calls);
        Tally { inner, calls }
    }
}

#[derive(Clone)]
pub(super) struct Tally<S> {
    inner: S,
    calls: Arc<AtomicUsize>,
}

impl<S> Tally<S> {
    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

impl<S: Service<ProbeRequest>> Service<ProbeRequest> for Tally<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: ProbeRequest) -> S::Future {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.inner.call(request)
    }
}

/// Tries again, after a while, for as long as there are attempts.
#[derive(Clone)]
pub(super) struct Patient {
    pub(super) attempts: u32,
}

impl<B, E> Policy<ProbeRequest, Response<B>, E> for Patient {
    type Future = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn retry(
        &mut self,
        _: &mut ProbeRequest,
        result: &mut Result<Response<B>, E>,
    ) -> Option<Self::Future> {
        let success = matches!(result, Ok(response) if response.status().is_success());
        self.attempts = self.attempts.checked_sub(1).filter(|_| !success)?;
        Some(Box::pin(tokio::time::sleep(Duration::from_millis(150))))
    }

    fn clone_request(&mut self, request: &ProbeRequest) -> Option<ProbeRequest> {
        Some(request.clone())
    }
}

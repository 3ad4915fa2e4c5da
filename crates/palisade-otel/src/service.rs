use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use opentelemetry::trace::Tracer;
use palisade_core::{Classify, HttpClassify};
use tower_service::Service;

use crate::{
    Propagate, ResponseBody, ResponseFuture, TraceContext, layer::Rules, span::RequestSpan,
};

/// Makes a client span of each request that a service answers.
///
/// Made by [`TraceLayer`](crate::TraceLayer).
pub struct Traced<S, T = opentelemetry::global::BoxedTracer, P = TraceContext, C = HttpClassify> {
    inner: S,
    rules: Arc<Rules<T, P, C>>,
}

impl<S, T, P, C> Traced<S, T, P, C> {
    pub(crate) fn new(inner: S, rules: Arc<Rules<T, P, C>>) -> Self {
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

impl<S: Clone, T, P, C> Clone for Traced<S, T, P, C> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), Arc::clone(&self.rules))
    }
}

impl<S: fmt::Debug, T, P, C> fmt::Debug for Traced<S, T, P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traced").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, A, B, T, P, C> Service<Request<A>> for Traced<S, T, P, C>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: Body,
    T: Tracer<Span: Send + Sync + 'static>,
    P: Propagate,
    C: Classify<Response<B>, S::Error>,
{
    type Response = Response<ResponseBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, T, P, C>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let mut span = RequestSpan::start(&self.rules, &mut request);
        let future = span.work(|| self.inner.call(request));
        ResponseFuture::new(future, span, Arc::clone(&self.rules))
    }
}

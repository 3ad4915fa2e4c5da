use std::{
    any::Any,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use palisade_core::{BoxError, Now};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{Body, ResponseBody};

pub(crate) type Answer<B> = Result<Response<B>, BoxError>;
pub(crate) type BoxFuture<B> = Pin<Box<dyn Future<Output = Answer<B>> + Send>>;

/// What is sent through a pointer.
pub(crate) trait Dynamic: Send + Sync {
    fn send(&self, request: Request<Body>) -> BoxFuture<ResponseBody>;
}

impl<S> Dynamic for S
where
    S: Service<
            Request<Body>,
            Response = Response<ResponseBody>,
            Error = BoxError,
            Future: Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    fn send(&self, request: Request<Body>) -> BoxFuture<ResponseBody> {
        let mut service = self.clone();
        // Most are ready: then there is nothing to keep but the future.
        match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => Box::pin(service.call(request)),
            Poll::Ready(Err(error)) => Box::pin(async { Err(error) }),
            Poll::Pending => Box::pin(async move {
                std::future::poll_fn(|cx| service.poll_ready(cx)).await?;
                service.call(request).await
            }),
        }
    }
}

/// A service for HTTP whose type is hidden: what a layer of yours is put around.
///
/// It takes bodies of any kind. It is always ready: a request goes to a clone of its
/// own, and waits until that is ready. So it is cheap to clone, however many layers
/// there are.
#[derive(Clone)]
pub struct BoxedService {
    service: Arc<dyn Dynamic>,
}

impl BoxedService {
    /// Hides the type of a service.
    pub fn new<S>(service: S) -> Self
    where
        S: HttpService,
    {
        let hidden = |service: S| Self { service: Arc::new(Unified { service }) };
        same(service).unwrap_or_else(hidden)
    }

    /// Hides that of a service which answers with the bodies that callers see.
    pub(crate) fn top(service: impl Dynamic + 'static) -> Self {
        Self { service: Arc::new(service) }
    }
}

impl<B> Service<Request<B>> for BoxedService
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<ResponseBody>;
    type Error = BoxError;
    type Future = BoxedFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> BoxedFuture {
        // Whoever is behind it may take time.
        BoxedFuture { future: Now::elapse(|| self.service.send(request.map(Body::of))) }
    }
}

impl fmt::Debug for BoxedService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxedService").finish_non_exhaustive()
    }
}

/// The answer of a [`BoxedService`].
#[must_use = "futures do nothing unless polled"]
pub struct BoxedFuture {
    future: BoxFuture<ResponseBody>,
}

impl Future for BoxedFuture {
    type Output = Result<Response<ResponseBody>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Now::elapse(|| self.future.as_mut().poll(cx))
    }
}

impl fmt::Debug for BoxedFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxedFuture").finish_non_exhaustive()
    }
}

/// What a [`Client`](crate::Client) can be built on: a service for HTTP that can
/// be cloned and sent to other threads.
///
/// It is implemented for all services that are so.
pub trait HttpService: Clone + Send + Sync + 'static {
    #[doc(hidden)]
    type Sending: Future<Output = Result<Response<ResponseBody>, BoxError>> + Send + 'static;

    #[doc(hidden)]
    fn ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>>;

    #[doc(hidden)]
    fn send(&mut self, request: Request<Body>) -> Self::Sending;
}

impl<S> HttpService for S
where
    S: Service<
            Request<Body>,
            Response: IntoResponse,
            Error: Into<BoxError>,
            Future: Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    type Sending = UnifiedFuture<S::Future>;

    fn ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.poll_ready(cx).map_err(Into::into)
    }

    fn send(&mut self, request: Request<Body>) -> Self::Sending {
        UnifiedFuture { future: self.call(request) }
    }
}

/// A response whose body can be that of a client's.
pub trait IntoResponse {
    #[doc(hidden)]
    fn into_response(self) -> Response<ResponseBody>;
}

impl<B> IntoResponse for Response<B>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    fn into_response(self) -> Response<ResponseBody> {
        self.map(ResponseBody::of)
    }
}

/// A layer that a [`Client`](crate::Client) can be given.
///
/// It is implemented for all layers around a [`BoxedService`] that make a service
/// for HTTP.
pub trait HttpLayer: Send + Sync + 'static {
    #[doc(hidden)]
    fn over(&self, inner: BoxedService) -> BoxedService;
}

impl<L> HttpLayer for L
where
    L: Layer<BoxedService, Service: HttpService> + Send + Sync + 'static,
{
    fn over(&self, inner: BoxedService) -> BoxedService {
        BoxedService::new(self.layer(inner))
    }
}

/// Gives all services for HTTP the same types.
#[derive(Clone)]
struct Unified<S> {
    service: S,
}

impl<S: HttpService> Service<Request<Body>> for Unified<S> {
    type Response = Response<ResponseBody>;
    type Error = BoxError;
    type Future = S::Sending;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.service.ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> S::Sending {
        self.service.send(request)
    }
}

pin_project! {
    /// Gives all answers the same type.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct UnifiedFuture<F> {
        #[pin]
        future: F,
    }
}

impl<F, R, E> Future for UnifiedFuture<F>
where
    F: Future<Output = Result<R, E>>,
    R: IntoResponse,
    E: Into<BoxError>,
{
    type Output = Answer<ResponseBody>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.project().future.poll(cx));
        Poll::Ready(answer.map(IntoResponse::into_response).map_err(Into::into))
    }
}

/// The value as another type, if it is of that.
pub(crate) fn same<T: 'static, U: 'static>(value: T) -> Result<U, T> {
    let mut value = Some(value);
    match (&mut value as &mut dyn Any).downcast_mut::<Option<U>>().and_then(Option::take) {
        Some(same) => Ok(same),
        None => match value {
            Some(value) => Err(value),
            None => unreachable!("it is taken as itself alone"),
        },
    }
}

use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use palisade_core::BoxError;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{Body, BoxedFuture, BoxedService, ResponseBody, erased::Answer};

pub(crate) type BoxBody = UnsyncBoxBody<Bytes, BoxError>;

/// A layer that may be there, or another one in its place.
///
/// What is off costs a branch for each poll, and no box.
pub(crate) enum Switch<L, S, J> {
    /// The service below, as if there were no layer.
    Off(S, PhantomData<fn() -> J>),
    /// Our layer around it.
    On(L),
    /// Somebody's layer around it.
    Other(BoxedService),
}

impl<L, S, J> Switch<L, S, J> {
    pub(crate) fn off(service: S) -> Self {
        Self::Off(service, PhantomData)
    }
}

type Polled<B> = Poll<Answer<B>>;

/// How the bodies of responses become one type, whatever is on.
///
/// It is asked for whole answers: one that stays as it is, is not moved then.
pub(crate) trait Join {
    type Body: FromBoxed;
    type On;
    type Off;

    fn on(polled: Polled<Self::On>) -> Polled<Self::Body>;
    fn off(polled: Polled<Self::Off>) -> Polled<Self::Body>;
}

/// A body that can be made of any.
pub(crate) trait FromBoxed {
    fn from_boxed(body: BoxBody) -> Self;
}

/// The layer leaves bodies as they are.
pub(crate) struct Same<B> {
    body: PhantomData<B>,
}

impl<B: FromBoxed> Join for Same<B> {
    type Body = B;
    type On = B;
    type Off = B;

    #[inline(always)]
    fn on(polled: Polled<B>) -> Polled<B> {
        polled
    }

    #[inline(always)]
    fn off(polled: Polled<B>) -> Polled<B> {
        polled
    }
}

/// The layer wraps bodies.
pub(crate) struct Wraps<A, B> {
    body: PhantomData<(A, B)>,
}

impl<A, B> Join for Wraps<A, B> {
    type Body = SwitchBody<A, B>;
    type On = A;
    type Off = B;

    #[inline(always)]
    fn on(polled: Polled<A>) -> Polled<SwitchBody<A, B>> {
        polled.map_ok(|response| response.map(|body| SwitchBody::On { body }))
    }

    #[inline(always)]
    fn off(polled: Polled<B>) -> Polled<SwitchBody<A, B>> {
        polled.map_ok(|response| response.map(|body| SwitchBody::Off { body }))
    }
}

impl<L, S, J> Service<Request<Body>> for Switch<L, S, J>
where
    J: Join,
    L: Service<Request<Body>, Response = Response<J::On>, Error = BoxError>,
    S: Service<Request<Body>, Response = Response<J::Off>, Error = BoxError>,
{
    type Response = Response<J::Body>;
    type Error = BoxError;
    type Future = SwitchFuture<L::Future, S::Future, J>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            Self::Off(service, _) => service.poll_ready(cx),
            Self::On(service) => service.poll_ready(cx),
            Self::Other(service) => Service::<Request<Body>>::poll_ready(service, cx),
        }
    }

    #[inline]
    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self {
            Self::Off(service, _) => {
                SwitchFuture::Off { future: service.call(request), join: PhantomData }
            }
            Self::On(service) => SwitchFuture::On { future: service.call(request) },
            Self::Other(service) => SwitchFuture::Other { future: service.call(request) },
        }
    }
}

impl<L: Clone, S: Clone, J> Clone for Switch<L, S, J> {
    fn clone(&self) -> Self {
        match self {
            Self::Off(service, _) => Self::off(service.clone()),
            Self::On(service) => Self::On(service.clone()),
            Self::Other(service) => Self::Other(service.clone()),
        }
    }
}

pin_project! {
    #[project = FutureProj]
    pub(crate) enum SwitchFuture<L, S, J> {
        Off { #[pin] future: S, join: PhantomData<fn() -> J> },
        On { #[pin] future: L },
        Other { future: BoxedFuture },
    }
}

impl<L, S, J> Future for SwitchFuture<L, S, J>
where
    J: Join,
    L: Future<Output = Answer<J::On>>,
    S: Future<Output = Answer<J::Off>>,
{
    type Output = Answer<J::Body>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            FutureProj::Off { future, .. } => J::off(future.poll(cx)),
            FutureProj::On { future } => J::on(future.poll(cx)),
            FutureProj::Other { future } => {
                let boxed = |body: ResponseBody| J::Body::from_boxed(body.into_boxed());
                Pin::new(future).poll(cx).map_ok(|response| response.map(boxed))
            }
        }
    }
}

pin_project! {
    /// What a layer that may be there makes of a body.
    #[project = BodyProj]
    pub(crate) enum SwitchBody<A, B> {
        On { #[pin] body: A },
        Off { #[pin] body: B },
        Other { body: BoxBody },
    }
}

impl<A, B> FromBoxed for SwitchBody<A, B> {
    fn from_boxed(body: BoxBody) -> Self {
        Self::Other { body }
    }
}

impl<A, B> HttpBody for SwitchBody<A, B>
where
    A: HttpBody<Data = Bytes, Error: Into<BoxError>>,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project() {
            BodyProj::On { body } => body.poll_frame(cx).map_err(Into::into),
            BodyProj::Off { body } => body.poll_frame(cx).map_err(Into::into),
            BodyProj::Other { body } => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::On { body } => body.is_end_stream(),
            Self::Off { body } => body.is_end_stream(),
            Self::Other { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::On { body } => body.size_hint(),
            Self::Off { body } => body.size_hint(),
            Self::Other { body } => body.size_hint(),
        }
    }
}

impl<A, B> fmt::Debug for SwitchBody<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SwitchBody").finish_non_exhaustive()
    }
}

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use palisade_core::BoxError;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    Body,
    erased::{Answer, BoxedFuture, BoxedService},
    switch::{BoxBody, FromBoxed},
    transport::{Sending, Transport},
};

/// What is at the bottom: our transport, or any service.
#[derive(Clone)]
pub(crate) enum Wire {
    Own(Transport),
    Other(BoxedService),
}

impl Service<Request<Body>> for Wire {
    type Response = Response<WireBody>;
    type Error = BoxError;
    type Future = WireFuture;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            // It is always ready.
            Self::Own(_) => Poll::Ready(Ok(())),
            Self::Other(service) => Service::<Request<Body>>::poll_ready(service, cx),
        }
    }

    #[inline]
    fn call(&mut self, request: Request<Body>) -> WireFuture {
        match self {
            Self::Own(transport) => WireFuture::Own { future: transport.send(request) },
            Self::Other(service) => WireFuture::Other { future: service.call(request) },
        }
    }
}

pin_project! {
    #[project = FutureProj]
    pub(crate) enum WireFuture {
        Own { #[pin] future: Sending },
        Other { future: BoxedFuture },
    }
}

impl Future for WireFuture {
    type Output = Answer<WireBody>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project() {
            FutureProj::Own { future } => {
                Ok(ready!(future.poll(cx))?.map(|body| WireBody::Incoming { body }))
            }
            FutureProj::Other { future } => Ok(ready!(Pin::new(future).poll(cx))?
                .map(|body| WireBody::Boxed { body: body.into_boxed() })),
        })
    }
}

/// The body of a response as it comes.
pub(crate) enum WireBody {
    Incoming { body: Incoming },
    Boxed { body: BoxBody },
}

impl FromBoxed for WireBody {
    fn from_boxed(body: BoxBody) -> Self {
        Self::Boxed { body }
    }
}

impl HttpBody for WireBody {
    type Data = Bytes;
    type Error = BoxError;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Incoming { body } => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Boxed { body } => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Incoming { body } => body.is_end_stream(),
            Self::Boxed { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Incoming { body } => body.size_hint(),
            Self::Boxed { body } => body.size_hint(),
        }
    }
}

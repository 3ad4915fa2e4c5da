use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use palisade_core::{BoxError, ErrorKind, Fault};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    Body,
    away::Away,
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
    fn call(&mut self, mut request: Request<Body>) -> WireFuture {
        match self {
            Self::Own(transport) => WireFuture::Own { future: transport.send(request) },
            Self::Other(service) => {
                if Away::is(request.extensions()) {
                    Away::forget(request.extensions_mut());
                }
                WireFuture::Other { future: service.call(request) }
            }
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
                let response = ready!(future.poll(cx))?;
                let streams = response.version() == Version::HTTP_2;
                Ok(response.map(|body| match streams {
                    true => WireBody::Stream { body },
                    false => WireBody::Incoming { body },
                }))
            }
            FutureProj::Other { future } => Ok(ready!(Pin::new(future).poll(cx))?
                .map(|body| WireBody::Boxed { body: body.into_boxed() })),
        })
    }
}

/// The body of a response as it comes.
pub(crate) enum WireBody {
    Incoming { body: Incoming },
    // Of HTTP/2.
    Stream { body: Incoming },
    // A stream that was ended before its body.
    Broken,
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
        let this = self.get_mut();
        match this {
            Self::Incoming { body } => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Stream { body } => match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                // RFC 9113, section 8.1: a server resets with NO_ERROR once its response is
                // complete. hyper takes its word for that, of GOAWAY as well.
                None if !body.is_end_stream() => {
                    *this = Self::Broken;
                    let error = Fault::new(ErrorKind::Closed, "stream ended before the body");
                    Poll::Ready(Some(Err(error.into())))
                }
                frame => Poll::Ready(frame.map(|frame| frame.map_err(Into::into))),
            },
            Self::Broken => Poll::Ready(None),
            Self::Boxed { body } => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Incoming { body } | Self::Stream { body } => body.is_end_stream(),
            Self::Broken => true,
            Self::Boxed { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            // hyper takes the length that an answer to HEAD tells for that of its body.
            Self::Stream { body } if body.is_end_stream() => SizeHint::with_exact(0),
            Self::Incoming { body } | Self::Stream { body } => body.size_hint(),
            Self::Broken => SizeHint::with_exact(0),
            Self::Boxed { body } => body.size_hint(),
        }
    }
}

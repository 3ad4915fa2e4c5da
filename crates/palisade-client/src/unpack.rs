use std::{
    future::{Ready, ready},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Request, Response,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, RANGE},
};
use http_body::{Body as HttpBody, Frame, SizeHint};
use palisade_core::BoxError;
use pin_project_lite::pin_project;
use tower_http::decompression::{Decompression, DecompressionBody};
use tower_service::Service;

use crate::{
    Body,
    erased::Answer,
    switch::{BoxBody, FromBoxed},
    wire::{Wire, WireBody, WireFuture},
};

/// Decompresses bodies by tower-http, which is asked only when there is something to
/// decompress.
#[derive(Clone)]
pub(crate) struct Unpack {
    inner: Wire,
    on: bool,
}

impl Unpack {
    pub(crate) fn new(inner: Wire, on: bool) -> Self {
        Self { inner, on }
    }
}

const ACCEPTED: HeaderValue = HeaderValue::from_static("gzip, deflate");

impl Service<Request<Body>> for Unpack {
    type Response = Response<UnpackBody>;
    type Error = BoxError;
    type Future = UnpackFuture;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<Body>) -> UnpackFuture {
        // A range is one of the body as it is sent, so that of a compressed one is no use.
        // An entry of the map would make room for itself, even if it is there.
        let said = |name: &HeaderName| *name == ACCEPT_ENCODING || *name == RANGE;
        // There are few: to look at all takes less time than to look two up.
        if self.on && !request.headers().keys().any(said) {
            // A map that is full does without.
            let _ = request.headers_mut().try_insert(ACCEPT_ENCODING, ACCEPTED);
        }
        UnpackFuture { future: self.inner.call(request), on: self.on }
    }
}

pin_project! {
    pub(crate) struct UnpackFuture {
        #[pin]
        future: WireFuture,
        on: bool,
    }
}

impl Future for UnpackFuture {
    type Output = Answer<UnpackBody>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.future.poll(cx))?;
        if *this.on && response.headers().contains_key(CONTENT_ENCODING) {
            return unpack(response, cx);
        }
        Poll::Ready(Ok(response.map(|body| UnpackBody::Plain { body })))
    }
}

#[cold]
fn unpack(response: Response<WireBody>, cx: &mut Context<'_>) -> Poll<Answer<UnpackBody>> {
    let mut answered = Decompression::new(Answered { response: Some(response) });
    let mut answer = answered.call(Request::new(()));
    let response = ready!(Pin::new(&mut answer).poll(cx))?;
    Poll::Ready(Ok(response.map(|body| UnpackBody::Unpacked { body: Box::pin(body) })))
}

/// A service that has its one answer already.
struct Answered {
    response: Option<Response<WireBody>>,
}

impl Service<Request<()>> for Answered {
    type Response = Response<WireBody>;
    type Error = BoxError;
    type Future = Ready<Answer<WireBody>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(self.response.take().ok_or_else(|| "it answers once".into()))
    }
}

/// A body, decompressed if that was necessary.
pub(crate) enum UnpackBody {
    Plain { body: WireBody },
    Unpacked { body: Pin<Box<DecompressionBody<WireBody>>> },
    Other { body: BoxBody },
}

impl FromBoxed for UnpackBody {
    fn from_boxed(body: BoxBody) -> Self {
        Self::Other { body }
    }
}

impl HttpBody for UnpackBody {
    type Data = Bytes;
    type Error = BoxError;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Plain { body } => Pin::new(body).poll_frame(cx),
            Self::Unpacked { body } => body.as_mut().poll_frame(cx),
            Self::Other { body } => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Plain { body } => body.is_end_stream(),
            Self::Unpacked { body } => body.is_end_stream(),
            Self::Other { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Plain { body } => body.size_hint(),
            Self::Unpacked { body } => body.size_hint(),
            Self::Other { body } => body.size_hint(),
        }
    }
}

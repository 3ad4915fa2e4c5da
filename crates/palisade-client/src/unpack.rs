use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, RANGE},
};
use http_body::{Body as HttpBody, Frame, SizeHint};
use palisade_core::BoxError;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    Body,
    erased::Answer,
    fields,
    inflate::{Decoder, Inflated},
    switch::{BoxBody, FromBoxed},
    vary::vary_by_more,
    wire::{Wire, WireBody, WireFuture},
};

/// Decompresses bodies.
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
// RFC 9110, section 12.5.3: nothing said is anything wanted.
const WHOLE: HeaderValue = HeaderValue::from_static("identity");

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
        // An entry of the map would make room for itself, even if it is there.
        if self.on && !fields::has(request.headers(), &ACCEPT_ENCODING) {
            // RFC 9110, section 14.2: a range is one of the body as it is sent, so that of a
            // compressed one is no use.
            let accepted = if fields::has(request.headers(), &RANGE) { WHOLE } else { ACCEPTED };
            // A map that is full does without.
            let _ = request.headers_mut().try_insert(ACCEPT_ENCODING, accepted);
        }
        // RFC 9110, section 9.3.2: its fields are about a body that does not come.
        let on = self.on && request.method() != Method::HEAD;
        UnpackFuture { future: self.inner.call(request), on }
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
        if *this.on
            && let Some(decoder) = Decoder::of(response.headers())
        {
            return Poll::Ready(Ok(unpack(response, decoder)));
        }
        Poll::Ready(Ok(response.map(|body| UnpackBody::Plain { body })))
    }
}

#[cold]
fn unpack(mut response: Response<WireBody>, decoder: Decoder) -> Response<UnpackBody> {
    // RFC 9110, sections 15.3.5 and 15.4.5: neither has a body.
    if matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return response.map(|body| UnpackBody::Plain { body });
    }
    // RFC 9110, section 14.2: it is a part of what is compressed, and cannot be read by itself.
    // A cache further out has the whole decompressed, by the same tag, and keeps none of the other.
    if response.status() == StatusCode::PARTIAL_CONTENT {
        vary_by_more(response.headers_mut());
        return response.map(|body| UnpackBody::Plain { body });
    }
    // They are those of what was compressed.
    response.headers_mut().remove(CONTENT_ENCODING);
    response.headers_mut().remove(CONTENT_LENGTH);
    response.map(|body| UnpackBody::Unpacked { body: Box::new(Inflated::new(body, decoder)) })
}

/// A body, decompressed if that was necessary.
pub(crate) enum UnpackBody {
    Plain { body: WireBody },
    Unpacked { body: Box<Inflated> },
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
            Self::Unpacked { body } => body.poll_frame(cx),
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

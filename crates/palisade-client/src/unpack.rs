use std::{
    io::{self, Write},
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use flate2::write::{MultiGzDecoder, ZlibDecoder};
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, RANGE},
};
use http_body::{Body as HttpBody, Frame, SizeHint};
use palisade_core::BoxError;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    Body,
    erased::Answer,
    switch::{BoxBody, FromBoxed},
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

/// A body that is decompressed as it comes.
pub(crate) struct Inflated {
    body: WireBody,
    decoder: Decoder,
    // What has come, and was not decompressed yet.
    input: Bytes,
    // Whether there may be more of what was.
    held: bool,
    stage: Stage,
}

enum Stage {
    // Nothing has come. If that is all, it is an empty body, as after HEAD.
    New,
    Begun,
    // The body is over, but for its trailers.
    Ended { trailers: Option<Frame<Bytes>> },
}

impl Inflated {
    fn new(body: WireBody, decoder: Decoder) -> Self {
        Self { body, decoder, input: Bytes::new(), held: false, stage: Stage::New }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            match self.inflate() {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Poll::Ready(Some(Ok(Frame::data(piece.into())))),
                Err(error) => {
                    (self.input, self.held) = (Bytes::new(), false);
                    self.stage = Stage::Ended { trailers: None };
                    return Poll::Ready(Some(Err(error.into())));
                }
            }
            if self.holds() {
                continue;
            }
            if let Stage::Ended { trailers } = &mut self.stage {
                return Poll::Ready(trailers.take().map(Ok));
            }
            let trailers = match ready!(Pin::new(&mut self.body).poll_frame(cx)?) {
                Some(frame) => match frame.into_data() {
                    Ok(data) if data.is_empty() => continue,
                    Ok(data) => {
                        (self.input, self.stage) = (data, Stage::Begun);
                        continue;
                    }
                    Err(trailers) => Some(trailers),
                },
                None => None,
            };
            let before = mem::replace(&mut self.stage, Stage::Ended { trailers });
            self.held = matches!(before, Stage::Begun);
        }
    }

    /// Decompresses some of what is there: not all at once, as it may swell.
    fn inflate(&mut self) -> io::Result<Vec<u8>> {
        if !self.input.is_empty() {
            self.held = true;
            let taken = self.decoder.write(&self.input)?;
            self.input.advance(taken);
        } else if mem::take(&mut self.held) {
            match self.stage {
                Stage::Ended { .. } => self.decoder.finish()?,
                Stage::New | Stage::Begun => self.decoder.flush()?,
            }
        }
        Ok(self.decoder.take())
    }

    fn holds(&self) -> bool {
        self.held || !self.input.is_empty()
    }

    fn is_end_stream(&self) -> bool {
        match &self.stage {
            Stage::New => self.body.is_end_stream(),
            Stage::Begun => false,
            Stage::Ended { trailers } => !self.holds() && trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}

enum Decoder {
    Gzip(MultiGzDecoder<Vec<u8>>),
    // RFC 9110, section 8.4.1.2: it is zlib's format.
    Deflate(ZlibDecoder<Vec<u8>>),
}

impl Decoder {
    /// The one for what a response says to be, if it is of one coding alone.
    #[inline]
    fn of(headers: &HeaderMap) -> Option<Self> {
        let coding = headers.get(CONTENT_ENCODING)?;
        if 1 < headers.get_all(CONTENT_ENCODING).iter().count() {
            return None;
        }
        // RFC 9110, sections 8.4.1 and 8.4.1.3.
        let is = |name: &[u8]| coding.as_bytes().eq_ignore_ascii_case(name);
        if is(b"gzip") || is(b"x-gzip") {
            return Some(Self::Gzip(MultiGzDecoder::new(Vec::new())));
        }
        is(b"deflate").then(|| Self::Deflate(ZlibDecoder::new(Vec::new())))
    }

    /// How much it took: one that is at its end takes nothing.
    fn write(&mut self, input: &[u8]) -> io::Result<usize> {
        let taken = match self {
            Self::Gzip(decoder) => decoder.write(input),
            Self::Deflate(decoder) => decoder.write(input),
        };
        match taken? {
            0 => Err(io::Error::new(io::ErrorKind::InvalidData, "body goes on after its end")),
            taken => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(decoder) => decoder.flush(),
            Self::Deflate(decoder) => decoder.flush(),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(decoder) => decoder.try_finish(),
            Self::Deflate(decoder) => decoder.try_finish(),
        }
    }

    fn take(&mut self) -> Vec<u8> {
        mem::take(match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Deflate(decoder) => decoder.get_mut(),
        })
    }
}

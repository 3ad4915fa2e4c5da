//! Bodies that come compressed, by flate2.

use std::{
    io::{self, Write},
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, header::CONTENT_ENCODING};
use http_body::{Body as _, Frame, SizeHint};
use palisade_core::BoxError;

use crate::wire::WireBody;

/// After so many steps of which nothing came, an empty piece does: who reads may mind the time.
const IN_VAIN: u32 = 64;

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
    pub(crate) fn new(body: WireBody, decoder: Decoder) -> Self {
        Self { body, decoder, input: Bytes::new(), held: false, stage: Stage::New }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        for _ in 0..IN_VAIN {
            match self.inflate() {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Poll::Ready(Some(Ok(Frame::data(piece.into())))),
                Err(error) => return Poll::Ready(Some(Err(self.fail(error.into())))),
            }
            if self.holds() {
                continue;
            }
            if let Stage::Ended { trailers } = &mut self.stage {
                return Poll::Ready(trailers.take().map(Ok));
            }
            let trailers = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Err(error)) => return Poll::Ready(Some(Err(self.fail(error)))),
                Some(Ok(frame)) => match frame.into_data() {
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
        Poll::Ready(Some(Ok(Frame::data(Bytes::new()))))
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

    /// It has ended with this error, and with no other one.
    fn fail(&mut self, error: BoxError) -> BoxError {
        (self.input, self.held) = (Bytes::new(), false);
        self.stage = Stage::Ended { trailers: None };
        error
    }

    fn holds(&self) -> bool {
        self.held || !self.input.is_empty()
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        match &self.stage {
            Stage::New => self.body.is_end_stream(),
            Stage::Begun => false,
            Stage::Ended { trailers } => !self.holds() && trailers.is_none(),
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}

/// What undoes a coding.
pub(crate) enum Decoder {
    Gzip(MultiGzDecoder<Vec<u8>>),
    // RFC 9110, section 8.4.1.2: it is zlib's format, but some servers leave its wrapper away. Its
    // first byte tells.
    Deflate,
    Zlib(ZlibDecoder<Vec<u8>>),
    Raw(DeflateDecoder<Vec<u8>>),
}

impl Decoder {
    /// The one for what a response says to be, if it is of one coding alone.
    #[inline]
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let coding = headers.get(CONTENT_ENCODING)?;
        if 1 < headers.get_all(CONTENT_ENCODING).iter().count() {
            return None;
        }
        // RFC 9110, sections 8.4.1 and 8.4.1.3.
        let is = |name: &[u8]| coding.as_bytes().eq_ignore_ascii_case(name);
        if is(b"gzip") || is(b"x-gzip") {
            return Some(Self::Gzip(MultiGzDecoder::new(Vec::new())));
        }
        is(b"deflate").then_some(Self::Deflate)
    }

    /// RFC 1950, section 2.2: the method is 8, and the window no more than 7. Without a wrapper,
    /// such a byte begins a block that is stored and padded by ones (RFC 1951, section 3.2.4),
    /// which nobody writes.
    fn of_deflate(first: u8) -> Self {
        match first & 0x8f {
            8 => Self::Zlib(ZlibDecoder::new(Vec::new())),
            _ => Self::Raw(DeflateDecoder::new(Vec::new())),
        }
    }

    /// How much it took: one that is at its end takes nothing.
    fn write(&mut self, input: &[u8]) -> io::Result<usize> {
        if let (Self::Deflate, Some(first)) = (&self, input.first()) {
            *self = Self::of_deflate(*first);
        }
        let taken = match self {
            Self::Gzip(decoder) => decoder.write(input),
            Self::Deflate => Ok(0),
            Self::Zlib(decoder) => decoder.write(input),
            Self::Raw(decoder) => decoder.write(input),
        };
        match taken? {
            0 => Err(io::Error::new(io::ErrorKind::InvalidData, "body goes on after its end")),
            taken => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(decoder) => decoder.flush(),
            Self::Deflate => Ok(()),
            Self::Zlib(decoder) => decoder.flush(),
            Self::Raw(decoder) => decoder.flush(),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(decoder) => decoder.try_finish(),
            Self::Deflate => Ok(()),
            Self::Zlib(decoder) => decoder.try_finish(),
            Self::Raw(decoder) => decoder.try_finish(),
        }
    }

    fn take(&mut self) -> Vec<u8> {
        mem::take(match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Deflate => return Vec::new(),
            Self::Zlib(decoder) => decoder.get_mut(),
            Self::Raw(decoder) => decoder.get_mut(),
        })
    }
}

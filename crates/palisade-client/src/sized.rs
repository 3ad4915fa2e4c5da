use std::{
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use palisade_core::BoxError;
use pin_project_lite::pin_project;

pin_project! {
    /// A body of which somebody has said how long it is.
    pub(crate) struct Sized<B> {
        #[pin]
        body: B,
        length: u64,
        left: u64,
    }
}

impl<B> Sized<B> {
    pub(crate) fn new(body: B, length: u64) -> Self {
        Self { body, length, left: length }
    }
}

impl<B> HttpBody for Sized<B>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx)).transpose().map_err(Into::into)?;
        let size = frame.as_ref().and_then(Frame::data_ref).map_or(0, |data| data.len() as u64);
        let (left, is_over) = (this.left.checked_sub(size), frame.is_none());
        Poll::Ready(match left {
            Some(left) if left == 0 || !is_over => {
                *this.left = left;
                frame.map(Ok)
            }
            _ => Some(Err(WrongLength { said: *this.length, is_longer: !is_over }.into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A body is of another length than was said.
#[derive(Debug)]
struct WrongLength {
    said: u64,
    is_longer: bool,
}

impl fmt::Display for WrongLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { said, is_longer } = self;
        let kind = if *is_longer { "longer" } else { "shorter" };
        write!(f, "the body is {kind} than the {said} bytes that were said: check its length")
    }
}

impl Error for WrongLength {}

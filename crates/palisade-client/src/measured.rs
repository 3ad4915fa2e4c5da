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
    pub(crate) struct Measured<B> {
        #[pin]
        body: B,
        length: u64,
        left: u64,
        // Handed out when something follows it that may, or nothing: whoever has all the bytes
        // that were said asks for no more, and would not hear of any.
        last: Option<Frame<Bytes>>,
        over: bool,
    }
}

impl<B> Measured<B> {
    pub(crate) fn new(body: B, length: u64) -> Self {
        Self { body, length, left: length, last: None, over: false }
    }
}

impl<B> HttpBody for Measured<B>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        while !*this.over {
            let polled = ready!(this.body.as_mut().poll_frame(cx));
            let Some(frame) = polled.transpose().map_err(Into::into)? else {
                *this.over = true;
                if 0 < *this.left {
                    let error = WrongLength { said: *this.length, is_longer: false };
                    return Poll::Ready(Some(Err(error.into())));
                }
                break;
            };
            let Some(left) = this.left.checked_sub(size(&frame)) else {
                (*this.over, *this.last) = (true, None);
                let error = WrongLength { said: *this.length, is_longer: true };
                return Poll::Ready(Some(Err(error.into())));
            };
            *this.left = left;
            if 0 < left {
                return Poll::Ready(Some(Ok(frame)));
            }
            if let Some(last) = this.last.replace(frame) {
                return Poll::Ready(Some(Ok(last)));
            }
        }
        Poll::Ready(this.last.take().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        let over = self.over || self.left == 0 && self.body.is_end_stream();
        over && self.last.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left + self.last.as_ref().map_or(0, size))
    }
}

fn size(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| data.len() as u64)
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

use std::{
    fmt,
    future::poll_fn,
    io::{self, Read},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use palisade_core::{BoxError, ErrorKind};

use super::runtime::{Waiter, drop_within};
use crate::{
    Error,
    call::Call,
    collect::{Collect, End},
    error::Fact,
    expiry::Expiry,
};

/// The body of a response, which is [read](Read) as it comes.
///
/// An error of reading is an [`Error`] within that of [`io`]. Where a thread must not
/// wait, it loses nothing: the body can be read elsewhere.
pub struct ResponseBody {
    rest: Rest,
}

impl ResponseBody {
    pub(crate) fn new(body: crate::ResponseBody) -> Self {
        Self { rest: Rest { unread: Bytes::new(), body: Some(Box::pin(body)) } }
    }

    /// What was not read yet, for who polls it.
    pub(crate) fn into_rest(mut self) -> Rest {
        std::mem::take(&mut self.rest)
    }

    pub(crate) fn of_rest(rest: Rest) -> Self {
        Self { rest }
    }

    /// All that was not read yet, without a limit.
    ///
    /// # Errors
    ///
    /// If the body breaks off, and with [`Kind::Blocking`](crate::Kind::Blocking) where
    /// a thread must not wait.
    pub fn bytes(self) -> Result<Bytes, Error> {
        let waiter = Waiter::new().map_err(|cannot| cannot.at(None))?;
        let collected =
            waiter.wait(Collect::whole(self.into_rest(), usize::MAX, Expiry::default()));
        match collected.end {
            End::Broken(error) => Err(Error::new(Fact::Body(error), None, None)),
            End::Whole | End::TooLarge => Ok(collected.bytes),
        }
    }

    pub(crate) fn read_until(
        &mut self,
        buffer: &mut [u8],
        expiry: &mut Expiry,
        call: Option<&Call>,
    ) -> io::Result<usize> {
        let rest = &mut self.rest;
        if rest.unread.is_empty() && !rest.is_end_stream() && !buffer.is_empty() {
            let waiter = Waiter::new().map_err(|cannot| io::Error::other(cannot.at(call)))?;
            waiter
                .wait(poll_fn(|cx| rest.poll_fill(expiry, cx)))
                .map_err(|error| read_error(Error::new(Fact::Body(error), call.cloned(), None)))?;
        }
        let length = buffer.len().min(rest.unread.len());
        rest.unread.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

fn read_error(error: Error) -> io::Error {
    let kind = match error.service_kind() {
        Some(ErrorKind::Timeout) => io::ErrorKind::TimedOut,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

impl Read for ResponseBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_until(buffer, &mut Expiry::default(), None)
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if let Some(body) = self.rest.body.take() {
            drop_within(body);
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").finish_non_exhaustive()
    }
}

/// What of a body was not read yet.
#[derive(Default)]
pub(crate) struct Rest {
    unread: Bytes,
    body: Option<Pin<Box<crate::ResponseBody>>>,
}

impl Rest {
    /// Has something to read, unless it is over.
    fn poll_fill(
        &mut self,
        expiry: &mut Expiry,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), BoxError>> {
        while self.unread.is_empty() {
            let frame = ready!(expiry.poll_frame(Pin::new(&mut *self), cx));
            let Some(frame) = frame.transpose()? else { break };
            // Trailers are of no use here.
            self.unread = frame.into_data().unwrap_or_default();
        }
        Poll::Ready(Ok(()))
    }
}

impl HttpBody for Rest {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if !self.unread.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.unread)))));
        }
        match &mut self.body {
            Some(body) => body.as_mut().poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.unread.is_empty() && self.body.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint =
            self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), |body| body.size_hint());
        let unread = self.unread.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(unread));
        }
        hint.set_lower(hint.lower().saturating_add(unread));
        hint
    }
}

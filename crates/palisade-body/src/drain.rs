use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http_body::Body;
use pin_project_lite::pin_project;

/// Frames read in one poll, before other tasks get their turn.
const FRAMES_PER_POLL: usize = 32;

pin_project! {
    /// Reads the rest of a body and throws it away, within a bound.
    ///
    /// An HTTP/1 connection can only be used again once the response on it was read to its end (RFC
    /// 9112, section 9.3), so reading a short rest is cheaper than a new connection, while a long
    /// one is not worth its bytes.
    ///
    /// It ends at the end of the body, at an error, or before it would read more than the cap. A
    /// body that announces ([`size_hint`](Body::size_hint)) more is not read at all. It bounds
    /// bytes and not time: a body that never ends and sends nothing is waited for, so drop the
    /// future when its time is over.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the body where it stands, so the connection is closed or its stream reset.
    #[must_use = "futures do nothing unless polled"]
    pub struct Drain<B> {
        #[pin]
        body: B,
        left: usize,
    }
}

/// How a [`Drain`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Drained {
    /// The body was read to its end: its connection can be used again.
    End,
    /// The rest of the body is longer than the cap.
    Capped,
    /// The body failed.
    Failed,
}

impl<B> Drain<B> {
    /// Drains up to `cap` bytes of `body`; a body of exactly `cap` bytes is read to its end.
    ///
    /// A data frame without data counts as one byte, so that a server cannot hold the reader with
    /// those.
    pub fn new(body: B, cap: usize) -> Self {
        Self { body, left: cap }
    }
}

impl<B: Body> Future for Drain<B> {
    type Output = Drained;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        for _ in 0..FRAMES_PER_POLL {
            if this.body.is_end_stream() {
                return Poll::Ready(Drained::End);
            }
            let announced = usize::try_from(this.body.size_hint().lower()).unwrap_or(usize::MAX);
            if *this.left < announced {
                return Poll::Ready(Drained::Capped);
            }
            let frame = match ready!(this.body.as_mut().poll_frame(cx)) {
                None => return Poll::Ready(Drained::End),
                Some(Err(_)) => return Poll::Ready(Drained::Failed),
                Some(Ok(frame)) => frame,
            };
            // RFC 9110, section 6.5: nothing comes after the trailers.
            let Some(data) = frame.data_ref() else {
                return Poll::Ready(Drained::End);
            };
            match this.left.checked_sub(data.remaining().max(1)) {
                Some(left) => *this.left = left,
                None => return Poll::Ready(Drained::Capped),
            }
        }
        // A body that is always ready would keep the task for itself, and with it the timer that
        // ends the wait.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<B> fmt::Debug for Drain<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").field("left", &self.left).finish_non_exhaustive()
    }
}

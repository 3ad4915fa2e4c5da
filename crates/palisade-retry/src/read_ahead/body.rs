use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

/// What a frame takes beside its bytes, about: a server that sends them one by
/// one must not take much more than the cap.
const FRAME: usize = 64;

/// The body of [`ReadAhead`](crate::ReadAhead)'s responses: what was read ahead, and the rest.
pub struct ReadAheadBody<B: Body> {
    front: VecDeque<Frame<B::Data>>,
    // Boxed, so that it can be moved although it was polled.
    rest: Option<Pin<Box<B>>>,
}

// Nothing is pinned in here but what is boxed.
impl<B: Body> Unpin for ReadAheadBody<B> {}

impl<B: Body> ReadAheadBody<B> {
    pub(super) fn new(body: B) -> Self {
        let rest = (!body.is_end_stream()).then(|| Box::pin(body));
        Self { rest, ..Self::empty() }
    }

    pub(super) fn empty() -> Self {
        Self { front: VecDeque::new(), rest: None }
    }

    /// Reads on, until the end or until there are more than `cap` bytes.
    /// Trailers are told as they come.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        read: &mut usize,
        cap: usize,
        mut trailers: impl FnMut(&HeaderMap),
    ) -> Poll<Result<(), B::Error>> {
        // A body that is always ready must not keep others waiting.
        for _ in 0..32 {
            let Some(rest) = self.rest.as_mut().filter(|_| *read <= cap) else {
                return Poll::Ready(Ok(()));
            };
            let Some(frame) = ready!(rest.as_mut().poll_frame(cx)) else {
                self.rest = None;
                return Poll::Ready(Ok(()));
            };
            let frame = frame?;
            if let Some(fields) = frame.trailers_ref() {
                trailers(fields);
            }
            let length = frame.data_ref().map_or(0, Buf::remaining);
            *read = read.saturating_add(length.max(FRAME));
            if frame.data_ref().is_none_or(Buf::has_remaining) {
                self.front.push_back(frame);
            }
            self.rest.take_if(|rest| rest.is_end_stream());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<B: Body> Body for ReadAheadBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        if let Some(frame) = self.front.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match &mut self.rest {
            Some(rest) => rest.as_mut().poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.front.is_empty() && self.rest.as_ref().is_none_or(|rest| rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let front: usize = self.front.iter().filter_map(Frame::data_ref).map(Buf::remaining).sum();
        let front = front as u64;
        let rest = match &self.rest {
            Some(rest) => rest.size_hint(),
            None => SizeHint::with_exact(0),
        };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(front));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(front)) {
            hint.set_upper(upper);
        }
        hint
    }
}

impl<B: Body> fmt::Debug for ReadAheadBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadAheadBody").finish_non_exhaustive()
    }
}

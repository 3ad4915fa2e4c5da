//! The body of a probe's response.

use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};

use super::{
    CHUNKS, Payload, Place, ProbeError, ProbeHandle, TRAILER,
    handle::{Kind, Live, uncounted},
    unwind,
};

/// The response body of a [`Probe`](crate::Probe).
pub struct ProbeBody<M = ()> {
    handle: ProbeHandle,
    id: u64,
    waited: u32,
    payload: Payload,
    // The number of the next frame.
    next: usize,
    _live: Live,
    marker: PhantomData<M>,
}

impl<M> ProbeBody<M> {
    pub(super) fn new(handle: &ProbeHandle, payload: Payload) -> Self {
        Self {
            handle: handle.clone(),
            id: handle.next_id(),
            waited: 0,
            payload,
            next: 0,
            _live: Live::new(handle, Kind::Body),
            marker: PhantomData,
        }
    }

    fn frames(&self) -> usize {
        match self.payload {
            Payload::Whole | Payload::Unsized => 3,
            Payload::Fails | Payload::Panics => 2,
            Payload::Empty => 0,
        }
    }
}

impl<M: Unpin> Body for ProbeBody<M> {
    type Data = Bytes;
    type Error = ProbeError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProbeError>>> {
        let this = self.get_mut();
        this.handle.at_work(Place::Body);
        if this.next == this.frames() {
            return Poll::Ready(None);
        }
        let pace = this.handle.plan().body_pace;
        ready!(this.handle.wait(pace, this.id, &mut this.waited, cx));
        let number = this.next;
        this.next += 1;
        this.waited = 0;
        Poll::Ready(Some(match (this.payload, number) {
            (Payload::Fails, 1) => Err(ProbeError::Body),
            (Payload::Panics, 1) => unwind(),
            (_, 2) => Ok(Frame::trailers(uncounted(trailers))),
            (_, number) => Ok(Frame::data(Bytes::from_static(CHUNKS[number].as_bytes()))),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.next == self.frames()
    }

    fn size_hint(&self) -> SizeHint {
        match self.payload {
            Payload::Unsized => SizeHint::default(),
            Payload::Empty => SizeHint::with_exact(0),
            _ => {
                let left = CHUNKS.iter().skip(self.next);
                SizeHint::with_exact(left.map(|chunk| chunk.len() as u64).sum())
            }
        }
    }
}

impl<M> fmt::Debug for ProbeBody<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeBody")
            .field("payload", &self.payload)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

fn trailers() -> HeaderMap {
    let (name, value) = TRAILER;
    let mut trailers = HeaderMap::new();
    trailers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    trailers
}

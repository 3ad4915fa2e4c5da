use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use sha2::{Digest, Sha256};

use super::BodyDigest;

pin_project! {
    /// A body that was read, as far as it could be without waiting, and goes on with
    /// the rest. Nothing of it was copied, if its data were in one piece.
    pub struct SignedBody<B> {
        first: Option<Frame<Bytes>>,
        // Most bodies in memory have one frame.
        more: VecDeque<Frame<Bytes>>,
        // The bytes of data among those.
        held: u64,
        ended: bool,
        #[pin]
        rest: B,
    }
}

impl<B> SignedBody<B> {
    pub(super) fn unread(rest: B) -> Self {
        Self { first: None, more: VecDeque::new(), held: 0, ended: false, rest }
    }

    fn keep(&mut self, frame: Frame<Bytes>) {
        self.held += length(&frame);
        match self.first {
            None => self.first = Some(frame),
            Some(_) => self.more.push_back(frame),
        }
    }
}

impl<B: Body + Unpin> SignedBody<B> {
    /// Reads what is there, up to about a number of bytes, and says what it is if that
    /// was all.
    pub(super) fn read(rest: B, longest: u64) -> Result<(Self, BodyDigest), B::Error> {
        let mut body = Self::unread(rest);
        let mut sha256 = Sha256::new();
        // Who polls it next brings a waker of its own.
        let mut cx = Context::from_waker(Waker::noop());
        // What has no data takes room and time all the same.
        let mut frames = 0;
        while !body.rest.is_end_stream() {
            if longest < body.size_hint().lower().max(frames) {
                return Ok((body, BodyDigest::Unread));
            }
            match Pin::new(&mut body.rest).poll_frame(&mut cx) {
                Poll::Pending => return Ok((body, BodyDigest::Unread)),
                Poll::Ready(None) => {
                    body.ended = true;
                    break;
                }
                Poll::Ready(Some(frame)) => {
                    frames += 1;
                    let frame = in_bytes(frame?);
                    if let Some(data) = frame.data_ref() {
                        sha256.update(data);
                    }
                    body.keep(frame);
                }
            }
        }
        Ok((body, BodyDigest::Sha256(sha256.finalize().into())))
    }
}

impl<B: Body> Body for SignedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if let Some(frame) = this.first.take().or_else(|| this.more.pop_front()) {
            *this.held -= length(&frame);
            return Poll::Ready(Some(Ok(frame)));
        }
        if *this.ended {
            return Poll::Ready(None);
        }
        let frame = ready!(this.rest.poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map(in_bytes)))
    }

    fn is_end_stream(&self) -> bool {
        let read = self.first.is_none() && self.more.is_empty();
        read && (self.ended || self.rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let rest = match self.ended {
            true => SizeHint::with_exact(0),
            false => self.rest.size_hint(),
        };
        let mut hint = SizeHint::new();
        // The upper bound first: it must never be below the lower one.
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(self.held)) {
            hint.set_upper(upper);
        }
        hint.set_lower(rest.lower().saturating_add(self.held));
        hint
    }
}

/// `Bytes` are not copied by this.
fn in_bytes<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
}

fn length(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| data.len() as u64)
}

impl<B> fmt::Debug for SignedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedBody").finish_non_exhaustive()
    }
}

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::Body as HttpBody;
use palisade_core::BoxError;
use pin_project_lite::pin_project;

use crate::expiry::Expiry;

/// So much of a body is kept for an error.
pub(crate) const KEPT: usize = 64 * 1024;

pin_project! {
    /// Collects a body, up to a limit.
    pub(crate) struct Collect<B> {
        #[pin]
        body: B,
        gather: Gather,
        // Whether a body that says it is too long is not read at all.
        whole: bool,
        expiry: Expiry,
    }
}

/// How collecting a body ended, and what there is of it.
pub(crate) struct Collected {
    pub(crate) bytes: Bytes,
    pub(crate) end: End,
}

pub(crate) enum End {
    Whole,
    TooLarge,
    Broken(BoxError),
}

impl<B: HttpBody> Collect<B> {
    /// All of a body, or nothing of one that says it is longer than the limit.
    pub(crate) fn whole(body: B, limit: usize, expiry: Expiry) -> Self {
        Self { body, gather: Gather::new(limit), whole: true, expiry }
    }

    /// The start of a body, for an error.
    pub(crate) fn start(body: B, limit: usize, expiry: Expiry) -> Self {
        Self { body, gather: Gather::new(limit.min(KEPT)), whole: false, expiry }
    }
}

impl<B> Future for Collect<B>
where
    B: HttpBody<Error: Into<BoxError>>,
{
    type Output = Collected;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Collected> {
        let mut this = self.project();
        if mem::take(this.whole) && (this.gather.limit as u64) < this.body.size_hint().lower() {
            return Poll::Ready(Collected { bytes: Bytes::new(), end: End::TooLarge });
        }
        let end = loop {
            let frame = match ready!(this.expiry.poll_frame(this.body.as_mut(), cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => break End::Broken(error),
                None => break End::Whole,
            };
            // Trailers are of no use here.
            let Ok(mut data) = frame.into_data() else { continue };
            let data = data.copy_to_bytes(data.remaining());
            let left = this.body.size_hint().lower();
            if this.gather.push(data, left).is_err() {
                break End::TooLarge;
            }
        };
        Poll::Ready(Collected { bytes: this.gather.take(), end })
    }
}

/// What was read of a body. A single piece is handed on as it is.
struct Gather {
    first: Bytes,
    more: Vec<u8>,
    limit: usize,
}

/// The body is longer than the limit.
#[derive(Debug, PartialEq, Eq)]
struct TooLarge;

/// So much is reserved on the word of a peer.
const TRUSTED: u64 = 1 << 20;

impl Gather {
    fn new(limit: usize) -> Self {
        Self { first: Bytes::new(), more: Vec::new(), limit }
    }

    /// Takes a piece, of which the peer says how much follows; of one too
    /// many, what fits.
    fn push(&mut self, mut piece: Bytes, left: u64) -> Result<(), TooLarge> {
        let room = self.limit - self.first.len() - self.more.len();
        let fits = piece.len() <= room;
        piece.truncate(room);
        if self.first.is_empty() && self.more.is_empty() {
            self.first = piece;
        } else if !piece.is_empty() {
            let first = mem::take(&mut self.first);
            let left = usize::try_from(left.min(TRUSTED)).unwrap_or_default().min(self.limit);
            self.more.reserve(first.len() + piece.len() + left);
            self.more.extend_from_slice(&first);
            self.more.extend_from_slice(&piece);
        }
        if fits { Ok(()) } else { Err(TooLarge) }
    }

    fn take(&mut self) -> Bytes {
        if self.more.is_empty() {
            mem::take(&mut self.first)
        } else {
            mem::take(&mut self.more).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_piece_is_not_copied() {
        let mut gather = Gather::new(5);
        let piece = Bytes::from(vec![1, 2, 3, 4, 5]);
        let place = piece.as_ptr();
        assert_eq!(gather.push(Bytes::new(), 0), Ok(()));
        assert_eq!(gather.push(piece, 0), Ok(()));
        assert_eq!(gather.take().as_ptr(), place);
    }

    #[test]
    fn one_over_the_limit_is_too_large() {
        for (limit, pieces, taken, fits) in [
            (4, &[&b"ab"[..], b"cd"][..], &b"abcd"[..], true),
            (3, &[b"ab", b"cd"], b"abc", false),
            (3, &[b"abcd"], b"abc", false),
            (2, &[b"ab", b"", b"c"], b"ab", false),
            (0, &[b""], b"", true),
            (0, &[b"a"], b"", false),
        ] {
            let mut gather = Gather::new(limit);
            let result = pieces
                .iter()
                .try_for_each(|piece| gather.push(Bytes::copy_from_slice(piece), u64::MAX));
            assert_eq!(result.is_ok(), fits, "{pieces:?}");
            assert_eq!(gather.take(), taken);
        }
    }
}

use std::{
    fmt,
    mem::take,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use palisade_core::BoxError;
use pin_project_lite::pin_project;

use super::{
    entry::StoredHead, outcome::Heard, seat::Seat, status::CacheStatus, upstream::to_bytes,
};

pin_project! {
    /// The body of a response that went through the cache: one that is stored,
    /// one that is stored while it is read, or that of the inner service.
    ///
    /// # Cancel safety
    ///
    /// A body that is dropped before its end takes nothing from others who read
    /// it; the last one of them ends the call, and nothing is stored.
    pub struct CachedBody<B> {
        #[pin]
        kind: Kind<B>,
        status: CacheStatus,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        // All of it, until it is read.
        Full { bytes: Bytes },
        // The same, and then what came after it.
        Trailed { bytes: Bytes, head: Option<Arc<StoredHead>> },
        // It is read by several, maybe, and stored.
        Shared { seat: Seat<Heard> },
        // That of the inner service.
        Inner { #[pin] body: B },
    }
}

impl<B> CachedBody<B> {
    pub(crate) fn full(bytes: Bytes, status: CacheStatus) -> Self {
        Self { kind: Kind::Full { bytes }, status }
    }

    /// With the trailers of a stored head.
    pub(crate) fn trailed(bytes: Bytes, head: Arc<StoredHead>, status: CacheStatus) -> Self {
        Self { kind: Kind::Trailed { bytes, head: Some(head) }, status }
    }

    pub(crate) fn shared(seat: Seat<Heard>, status: CacheStatus) -> Self {
        Self { kind: Kind::Shared { seat }, status }
    }

    pub(crate) fn inner(body: B, status: CacheStatus) -> Self {
        Self { kind: Kind::Inner { body }, status }
    }

    /// What the cache did with the request.
    pub fn cache_status(&self) -> CacheStatus {
        self.status
    }
}

impl<B> Body for CachedBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project().kind.project() {
            KindProj::Full { bytes } if bytes.is_empty() => Poll::Ready(None),
            KindProj::Full { bytes } => Poll::Ready(Some(Ok(Frame::data(take(bytes))))),
            KindProj::Trailed { bytes, head } if bytes.is_empty() => {
                let trailers = head.take().and_then(|head| head.trailers.clone());
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
            KindProj::Trailed { bytes, .. } => Poll::Ready(Some(Ok(Frame::data(take(bytes))))),
            KindProj::Shared { seat } => seat.poll_frame(cx),
            KindProj::Inner { body } => {
                let frame = ready!(body.poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map(to_bytes).map_err(Into::into)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Full { bytes } => bytes.is_empty(),
            Kind::Trailed { head, .. } => head.is_none(),
            Kind::Shared { seat } => seat.hint().0,
            Kind::Inner { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Full { bytes } | Kind::Trailed { bytes, .. } => {
                SizeHint::with_exact(bytes.len() as u64)
            }
            Kind::Shared { seat } => seat.hint().1,
            Kind::Inner { body } => body.size_hint(),
        }
    }
}

impl<B> fmt::Debug for CachedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedBody").field("status", &self.status).finish_non_exhaustive()
    }
}

//! Places at a fill.

use std::{
    ptr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use palisade_core::BoxError;
use tokio::time::Instant;

pub(crate) type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

/// A place at a fill. Dropped, it is left; the last one to leave ends the work.
pub(crate) struct Seat<H> {
    fill: Arc<dyn Follow<H>>,
    id: usize,
}

impl<H> Seat<H> {
    pub(crate) fn new(fill: Arc<dyn Follow<H>>, id: usize) -> Self {
        Self { fill, id }
    }

    pub(crate) fn take(
        fill: &Arc<dyn Follow<H>>,
        now: Instant,
        patience: Duration,
    ) -> Option<Self> {
        let id = fill.take_seat(now, patience)?;
        Some(Self { fill: Arc::clone(fill), id })
    }

    pub(crate) fn is_at(&self, fill: &Arc<dyn Follow<H>>) -> bool {
        ptr::addr_eq(Arc::as_ptr(&self.fill), Arc::as_ptr(fill))
    }

    pub(crate) fn poll_head(&self, cx: &mut Context<'_>) -> Poll<Option<H>> {
        Arc::clone(&self.fill).poll_head(self.id, cx)
    }

    pub(crate) fn poll_frame(&self, cx: &mut Context<'_>) -> Polled {
        Arc::clone(&self.fill).poll_frame(self.id, cx)
    }

    pub(crate) fn hint(&self) -> (bool, SizeHint) {
        self.fill.hint(self.id)
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.fill.is_kept()
    }
}

impl<H> Drop for Seat<H> {
    fn drop(&mut self) {
        self.fill.leave(self.id);
    }
}

/// What a participant does, whatever the work is.
pub(crate) trait Follow<H>: Send + Sync {
    /// A seat, if what has come so far is all still there, and the latest of it
    /// came no longer ago than this.
    fn take_seat(&self, now: Instant, patience: Duration) -> Option<usize>;
    /// What has come of the head; nothing, if the work panicked.
    fn poll_head(self: Arc<Self>, seat: usize, cx: &mut Context<'_>) -> Poll<Option<H>>;
    fn poll_frame(self: Arc<Self>, seat: usize, cx: &mut Context<'_>) -> Polled;
    fn hint(&self, seat: usize) -> (bool, SizeHint);
    /// Whether what comes is kept, so that it can be stored.
    fn is_kept(&self) -> bool;
    fn leave(&self, seat: usize);
}

/// What the one that began a fill does.
pub(crate) trait Begin<L>: Send + Sync {
    /// What it gets for itself, once the head has come.
    fn take_lead(&self) -> Option<L>;
}

use std::time::Instant;

use http::Request;
use palisade_core::Deadline;

/// Says when an answer to a request is of no use any more: one that would have
/// to wait for longer is refused at once.
pub trait DeadlineOf<Req> {
    /// Whether there may be one: who knows when a request is due need not tell it
    /// otherwise.
    const ANY: bool = true;

    /// That moment, if there is one.
    fn deadline(&self, request: &Req) -> Option<Instant>;
}

/// No request has a deadline. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDeadline;

impl<Req> DeadlineOf<Req> for NoDeadline {
    const ANY: bool = false;

    #[inline]
    fn deadline(&self, _: &Req) -> Option<Instant> {
        None
    }
}

/// A request waits no longer than until the [`Deadline`] in its extensions.
#[derive(Clone, Copy, Debug, Default)]
pub struct UntilDeadline;

impl<B> DeadlineOf<Request<B>> for UntilDeadline {
    fn deadline(&self, request: &Request<B>) -> Option<Instant> {
        Deadline::of(request.extensions()).map(|deadline| deadline.0)
    }
}

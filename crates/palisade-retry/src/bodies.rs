use http_body::Body;
use palisade_body::{NotReplayable, Replay, ReplayBody};

use crate::Stop;

/// How the body of a request is kept for further attempts.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot keep a body of type `{B}` for further attempts",
    note = "a body that does not clone is kept by `RetryLayer::replay(cap)`"
)]
pub trait Bodies<B> {
    /// The body that the inner service is given.
    type Body;
    /// What is kept of it.
    type Kept;

    /// The body of a request that is sent once.
    fn once(&self, body: B) -> Self::Body;

    /// The body of the first attempt, and what is kept for others.
    fn first(&self, body: B) -> (Self::Body, Self::Kept);

    /// Whether there can be another attempt. `answered` says that there was a
    /// response, and not an error.
    ///
    /// # Errors
    ///
    /// If not, the reason.
    fn check(&self, kept: &Self::Kept, answered: bool) -> Result<(), Stop>;

    /// The body of another attempt. None is the last for sure: it may be refused
    /// on this side, and be made again.
    ///
    /// # Errors
    ///
    /// If the body cannot be sent again, the reason.
    fn next(&self, kept: &mut Self::Kept) -> Result<Self::Body, Stop>;
}

/// Clones the body: for bodies that are in memory. The default.
///
/// Whether a body was sent whole is not known in this way, so a response that
/// comes before that is retried like any other. [`ReplayBodies`] knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct CloneBody;

impl<B: Clone> Bodies<B> for CloneBody {
    type Body = B;
    type Kept = B;

    fn once(&self, body: B) -> B {
        body
    }

    fn first(&self, body: B) -> (B, B) {
        (body.clone(), body)
    }

    fn check(&self, _: &B, _: bool) -> Result<(), Stop> {
        Ok(())
    }

    fn next(&self, kept: &mut B) -> Result<B, Stop> {
        Ok(kept.clone())
    }
}

/// Keeps what is read of the body, up to a number of bytes: for bodies that
/// stream, and for those that do not clone.
///
/// Made by [`RetryLayer::replay`](crate::RetryLayer::replay).
#[derive(Clone, Copy, Debug)]
pub struct ReplayBodies {
    cap: usize,
}

impl ReplayBodies {
    pub(crate) fn new(cap: usize) -> Self {
        Self { cap }
    }
}

impl<B: Body> Bodies<B> for ReplayBodies {
    type Body = ReplayBody<B>;
    type Kept = Replay<B>;

    fn once(&self, body: B) -> ReplayBody<B> {
        ReplayBody::pass(body)
    }

    fn first(&self, body: B) -> (ReplayBody<B>, Replay<B>) {
        ReplayBody::new(body, self.cap)
    }

    fn check(&self, replay: &Replay<B>, answered: bool) -> Result<(), Stop> {
        replay.replayable().map_err(stop)?;
        // The connection is busy with the upload, and its end is unknown: the
        // answer stands, as in gRPC's A6 and in linkerd.
        match answered && !replay.is_complete() {
            true => Err(Stop::BodyUnsent),
            false => Ok(()),
        }
    }

    fn next(&self, replay: &mut Replay<B>) -> Result<ReplayBody<B>, Stop> {
        replay.next_body().map_err(stop)
    }
}

fn stop(reason: NotReplayable) -> Stop {
    match reason {
        NotReplayable::TooLarge => Stop::BodyTooLarge,
        _ => Stop::BodyFailed,
    }
}

use http::Request;
use http_body::Body;
use palisade_body::{Replay, ReplayBody};

/// How the body of a request is kept, in case its token is refused.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot keep a body of type `{B}` for a second try",
    note = "a body that does not clone is kept by `AuthLayer::replay(cap)`, or not at all by `AuthLayer::send_once()`"
)]
pub trait Bodies<B> {
    /// The body that the inner service is given.
    type Body;
    /// What is kept of it.
    type Kept;

    /// Whether the head of such a request is worth keeping; if not, it is sent
    /// once. Defaults to true.
    fn keeps(&self, request: &Request<B>) -> bool {
        let _ = request;
        true
    }

    /// The request with the body that is sent, and what is kept of that. Nothing,
    /// if the request is sent once.
    fn first(&self, request: Request<B>) -> (Request<Self::Body>, Option<Self::Kept>);

    /// The body that is sent again, if that can be.
    fn again(&self, kept: Self::Kept) -> Option<Self::Body>;
}

/// Clones the body: for bodies that are in memory. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct CloneBody;

impl<B: Clone> Bodies<B> for CloneBody {
    type Body = B;
    type Kept = B;

    #[inline(always)]
    fn first(&self, request: Request<B>) -> (Request<B>, Option<B>) {
        let kept = request.body().clone();
        (request, Some(kept))
    }

    fn again(&self, kept: B) -> Option<B> {
        Some(kept)
    }
}

/// Keeps what is read of the body, up to a number of bytes: for bodies that
/// stream, and for those that do not clone. Made by
/// [`AuthLayer::replay`](crate::AuthLayer::replay).
///
/// A request that was answered before its body was sent is sent again all the
/// same: its connection is lost, but a server that refuses a token need not read
/// on.
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

    fn first(&self, request: Request<B>) -> (Request<ReplayBody<B>>, Option<Replay<B>>) {
        let (parts, body) = request.into_parts();
        let (body, replay) = ReplayBody::new(body, self.cap);
        let replay = replay.replayable().is_ok().then_some(replay);
        (Request::from_parts(parts, body), replay)
    }

    fn again(&self, kept: Replay<B>) -> Option<ReplayBody<B>> {
        kept.last_body().ok()
    }
}

/// Sends each request once. Made by
/// [`AuthLayer::send_once`](crate::AuthLayer::send_once).
#[derive(Clone, Copy, Debug, Default)]
pub struct SendOnce;

impl<B> Bodies<B> for SendOnce {
    type Body = B;
    // Nothing is.
    type Kept = std::convert::Infallible;

    #[inline]
    fn keeps(&self, _: &Request<B>) -> bool {
        false
    }

    #[inline(always)]
    fn first(&self, request: Request<B>) -> (Request<B>, Option<Self::Kept>) {
        (request, None)
    }

    fn again(&self, kept: Self::Kept) -> Option<B> {
        match kept {}
    }
}

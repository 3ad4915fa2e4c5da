use palisade_body::{NotReplayable, Replay, ReplayBody};

use crate::{Body, defaults::REPLAY};

/// How the bodies of requests are kept in case they are sent again: what is in
/// memory is cloned, and of a stream up to 64 KiB are kept as they are read.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct KeepBody;

/// What is kept of a body.
#[derive(Debug)]
pub struct KeptBody {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Copy(Body),
    Replay(Replay<Body>),
}

impl KeptBody {
    /// What is kept of a body, which stays where it is if it clones.
    fn of(body: &mut Body) -> Self {
        if let Some(copy) = body.try_clone() {
            return Self { kind: Kind::Copy(copy) };
        }
        let (first, replay) = ReplayBody::new(std::mem::take(body), REPLAY);
        *body = Body::stream(first);
        Self { kind: Kind::Replay(replay) }
    }

    #[cfg(feature = "retry")]
    fn next(&mut self) -> Result<Body, NotReplayable> {
        match &mut self.kind {
            Kind::Copy(copy) => copy.try_clone().ok_or(NotReplayable::Failed),
            Kind::Replay(replay) => replay.next_body().map(Body::stream),
        }
    }

    #[cfg(feature = "auth")]
    fn last(self) -> Result<Body, NotReplayable> {
        match self.kind {
            Kind::Copy(copy) => Ok(copy),
            Kind::Replay(replay) => replay.last_body().map(Body::stream),
        }
    }
}

#[cfg(feature = "retry")]
impl palisade_retry::Bodies<Body> for KeepBody {
    type Body = Body;
    type Kept = KeptBody;

    fn once(&self, body: Body) -> Body {
        body
    }

    fn first(&self, mut body: Body) -> (Body, KeptBody) {
        let kept = KeptBody::of(&mut body);
        (body, kept)
    }

    fn check(&self, kept: &KeptBody, answered: bool) -> Result<(), palisade_retry::Stop> {
        let replay = match &kept.kind {
            Kind::Copy(_) => return Ok(()),
            Kind::Replay(replay) => replay,
        };
        replay.replayable().map_err(stop)?;
        // The connection is busy with the upload: the answer stands, as in gRPC's A6.
        match answered && !replay.is_complete() {
            true => Err(palisade_retry::Stop::BodyUnsent),
            false => Ok(()),
        }
    }

    fn next(&self, kept: &mut KeptBody) -> Result<Body, palisade_retry::Stop> {
        kept.next().map_err(stop)
    }
}

#[cfg(feature = "retry")]
fn stop(reason: NotReplayable) -> palisade_retry::Stop {
    match reason {
        NotReplayable::TooLarge => palisade_retry::Stop::BodyTooLarge,
        _ => palisade_retry::Stop::BodyFailed,
    }
}

#[cfg(feature = "auth")]
impl palisade_auth::Bodies<Body> for KeepBody {
    type Body = Body;
    type Kept = KeptBody;

    fn first(&self, mut request: http::Request<Body>) -> (http::Request<Body>, Option<KeptBody>) {
        let kept = KeptBody::of(request.body_mut());
        (request, Some(kept))
    }

    fn again(&self, kept: KeptBody) -> Option<Body> {
        kept.last().ok()
    }
}

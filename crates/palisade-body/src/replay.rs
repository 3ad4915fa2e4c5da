use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{
    error::{NotReplayable, ReplayError},
    reader::{Reader, Shared, poll_source},
    sync::Arc,
};

pin_project! {
    /// A request body that can be sent again, by a later attempt that gets the same bytes and
    /// trailers.
    ///
    /// It records what it reads, chunk by chunk and without copying it where the data is [`Bytes`].
    /// The body of a later attempt ([`Replay::next_body`]) sends what was recorded and then reads
    /// on where the earlier one stopped, be it before the first byte ([linkerd/linkerd2 #15649]) or
    /// in the midst of the body.
    ///
    /// The earlier one may still be alive then, since a connection lets go of a body when it
    /// pleases. From that moment it yields [`ReplayError::Superseded`], after being woken for it,
    /// so that its connection is closed rather than left with half a request. If another thread is
    /// just polling the source through it, the later one waits until that poll returns and gets its
    /// frame.
    ///
    /// Framing on the wire stays what it would be without recording: [`size_hint`](Body::size_hint)
    /// is exact where that of the source was, in every attempt and before every frame, and no
    /// attempt claims to know a length that the first one did not know.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped at any point; what it read is kept for the next attempt.
    ///
    /// [linkerd/linkerd2 #15649]: https://github.com/linkerd/linkerd2/issues/15649
    pub struct ReplayBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

/// Makes the bodies of later attempts; it stays with who retries.
///
/// Dropping it says that there will be none: the current attempt goes on, what was recorded is
/// freed as far as it was sent, and nothing more is recorded.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use bytes::Bytes;
/// use http_body_util::{BodyExt, Full};
/// use palisade_body::{NotReplayable, ReplayBody};
///
/// let (first, mut replay) = ReplayBody::new(Full::new(Bytes::from("too long")), 4);
/// assert_eq!(replay.replayable(), Err(NotReplayable::TooLarge));
/// assert!(replay.next_body().is_err());
/// assert_eq!(first.collect().await?.to_bytes(), "too long");
/// # Ok(())
/// # }
/// ```
pub struct Replay<B> {
    kind: Recording<B>,
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        // Not recorded at all.
        Passed { #[pin] body: B },
        // It was at its end from the start.
        Empty,
        // One attempt at what several may read.
        Recorded { reader: Reader<B> },
    }
}

enum Recording<B> {
    /// The cap was too small for the length that the body announced.
    TooLarge,
    Empty,
    Recorded(Arc<Shared<B>>),
}

impl<B: Body> ReplayBody<B> {
    /// Wraps the body of the first attempt, of which up to `cap` bytes are recorded for later ones.
    ///
    /// A body of exactly `cap` bytes can be sent again. A longer one is sent nonetheless: what was
    /// recorded is freed when the cap is passed, and [`NotReplayable::TooLarge`] is all that later
    /// attempts get. If the body announces ([`size_hint`](Body::size_hint)) that it is longer,
    /// nothing is recorded or allocated; nor is it if the body is empty
    /// ([`is_end_stream`](Body::is_end_stream)). The cap counts data and not trailers, of which
    /// there is one block at most.
    pub fn new(body: B, cap: usize) -> (Self, Replay<B>) {
        if body.is_end_stream() {
            let replay = Replay { kind: Recording::Empty };
            return (Self { kind: Kind::Empty }, replay);
        }
        let cap = u64::try_from(cap).unwrap_or(u64::MAX);
        if cap < body.size_hint().lower() {
            let replay = Replay { kind: Recording::TooLarge };
            return (Self::pass(body), replay);
        }
        let shared = Arc::new(Shared::new(body, cap));
        let first = Self::recorded(Reader::first(Arc::clone(&shared)));
        let replay = Replay { kind: Recording::Recorded(shared) };
        (first, replay)
    }

    /// Wraps a body that will not be sent again: nothing is recorded or allocated.
    ///
    /// A service that retries some requests sees one body type for all.
    pub fn pass(body: B) -> Self {
        Self { kind: Kind::Passed { body } }
    }
}

impl<B> ReplayBody<B> {
    fn recorded(reader: Reader<B>) -> Self {
        Self { kind: Kind::Recorded { reader } }
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = ReplayError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.project().kind.project() {
            KindProj::Passed { body } => poll_source(body, cx).map_err(ReplayError::Body),
            KindProj::Empty => Poll::Ready(None),
            KindProj::Recorded { reader } => reader.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Passed { body } => body.is_end_stream(),
            Kind::Empty => true,
            Kind::Recorded { reader } => reader.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Passed { body } => body.size_hint(),
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Recorded { reader } => reader.size_hint(),
        }
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("ReplayBody");
        if let Kind::Recorded { reader } = &self.kind {
            debug.field("attempt", &reader.attempt());
        }
        debug.finish_non_exhaustive()
    }
}

impl<B> Replay<B> {
    /// Makes the body of the next attempt, and supersedes that of the current one.
    ///
    /// The next attempt is sure to get the whole body, however long the rest of it is. A current
    /// one that is not complete can no longer finish, and its connection is lost: take the new body
    /// only when the answer to the current attempt is no longer wanted.
    ///
    /// # Errors
    ///
    /// If the body cannot be sent again, as [`replayable`](Self::replayable) tells. The current
    /// attempt then goes on.
    pub fn next_body(&mut self) -> Result<ReplayBody<B>, NotReplayable> {
        let shared = match &self.kind {
            Recording::TooLarge => return Err(NotReplayable::TooLarge),
            Recording::Empty => return Ok(ReplayBody { kind: Kind::Empty }),
            Recording::Recorded(shared) => Arc::clone(shared),
        };
        Reader::later(shared).map(ReplayBody::recorded)
    }

    /// Makes the body of the last attempt: like [`next_body`](Self::next_body), but what was
    /// recorded is freed as it is sent, and nothing more is recorded.
    ///
    /// # Errors
    ///
    /// If the body cannot be sent again. The current attempt then goes on.
    pub fn last_body(mut self) -> Result<ReplayBody<B>, NotReplayable> {
        // Dropping the handle ends the recording.
        self.next_body()
    }

    /// Says whether the body can be sent again.
    ///
    /// For a body that [is complete](Self::is_complete) this is final. Else the current attempt may
    /// pass the cap or meet an error at any moment; only what [`next_body`](Self::next_body)
    /// returns is certain.
    ///
    /// # Errors
    ///
    /// [`NotReplayable::TooLarge`] once the cap was passed, [`NotReplayable::Failed`] once the body
    /// failed.
    pub fn replayable(&self) -> Result<(), NotReplayable> {
        match &self.kind {
            Recording::TooLarge => Err(NotReplayable::TooLarge),
            Recording::Empty => Ok(()),
            Recording::Recorded(shared) => shared.lock().replayable(),
        }
    }

    /// Whether the current attempt has sent the whole body, so that its connection is free to be
    /// used again once the answer is read. An answer may well come before that (RFC 9112, section
    /// 9.5).
    ///
    /// The whole body is what was read to the end, trailers included. It is also a body of a length
    /// known from the start that was dropped after its last byte: it is framed by a Content-Length
    /// then, and an HTTP/1 connection does not ask for more (RFC 9112, section 6.2).
    ///
    /// False for a body that was not recorded since it announced to be longer than the cap.
    pub fn is_complete(&self) -> bool {
        match &self.kind {
            Recording::TooLarge => false,
            Recording::Empty => true,
            Recording::Recorded(shared) => shared.lock().is_complete(),
        }
    }
}

impl<B> Drop for Replay<B> {
    fn drop(&mut self) {
        if let Recording::Recorded(shared) = &self.kind {
            let leftovers = shared.lock().stop();
            leftovers.settle();
        }
    }
}

impl<B> fmt::Debug for Replay<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("replayable", &self.replayable())
            .field("complete", &self.is_complete())
            .finish_non_exhaustive()
    }
}

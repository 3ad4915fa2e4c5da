use std::{collections::VecDeque, mem, task::Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use crate::error::{BoxError, NotReplayable};

/// What a body gave so far, how much of that the current attempt sent, and who may read on.
///
/// Plain rules, to be kept behind a lock; every method is one critical section. None of them polls,
/// wakes or drops what others wrote: the source is handed out to be polled ([`Step::Read`]) and
/// comes back by [`put`](Self::put) or [`fail`](Self::fail), and the rest leaves as [`Leftovers`].
pub(crate) struct Record<S> {
    source: Source<S>,
    /// What the source said about its rest when it last came back.
    rest: SizeHint,
    /// Whether the first attempt knew the length of the body before it read any.
    sized: bool,
    keep: Keep,
    cap: u64,
    /// While recording, all chunks from the first one; otherwise those that the current attempt has
    /// yet to send.
    chunks: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    /// Bytes that came out of the source.
    read: u64,
    /// The attempt that may read. All earlier ones are superseded.
    attempt: u64,
    /// Bytes that the current attempt sent.
    sent: u64,
    /// Index of the chunk that the current attempt sends next.
    next: usize,
    trailers_sent: bool,
    /// Whether the current attempt was let go of after the last byte of a known length.
    complete_by_length: bool,
    /// The task of the current attempt while it waits, be it for the source or for its return.
    waker: Option<Waker>,
}

enum Source<S> {
    Idle(S),
    /// An attempt is polling it, perhaps one that was superseded meanwhile.
    Busy,
    Ended,
    /// The error waits here if a superseded attempt met it.
    Failed(Option<BoxError>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Recording,
    /// The cap was passed.
    Overflowed,
    /// Nobody will ask for another attempt.
    Stopped,
}

/// What an attempt does next.
pub(crate) enum Step<S> {
    /// Send this; `last` if nothing follows.
    Send { frame: Frame<Bytes>, last: bool },
    /// All was sent.
    End,
    /// Poll the source, without the lock, and bring it back. The waker is the one left by the last
    /// poll.
    Read { source: S, waker: Option<Waker> },
    /// A superseded attempt is polling the source: [`Record::park`].
    Busy,
    /// The source failed; the error is there for the first one who asks.
    Failed(Option<BoxError>),
    /// A later attempt took over.
    Superseded,
}

/// What the source answered to a poll.
pub(crate) enum Polled<'a> {
    /// Nothing yet; this waker has been left with it.
    Pending(Waker),
    /// A frame, and whether the source says that it was the last one.
    Frame {
        frame: &'a Frame<Bytes>,
        last: bool,
    },
    End,
}

/// What an attempt that brought the source back may do with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Send it; `last` if nothing follows.
    Send { last: bool },
    /// It was recorded for the attempt that took over.
    Superseded,
}

/// What must be woken and dropped once the lock is released.
pub(crate) struct Leftovers<S> {
    waker: Option<Waker>,
    source: Option<S>,
    chunks: VecDeque<Bytes>,
}

impl<S> Record<S> {
    /// Starts to record; the first attempt has the number 0. `cap` is in bytes.
    pub(crate) fn new(source: S, rest: SizeHint, cap: u64) -> Self {
        Self {
            source: Source::Idle(source),
            rest,
            sized: rest.exact().is_some(),
            keep: Keep::Recording,
            cap,
            chunks: VecDeque::new(),
            trailers: None,
            read: 0,
            attempt: 0,
            sent: 0,
            next: 0,
            trailers_sent: false,
            complete_by_length: false,
            waker: None,
        }
    }

    /// Says what `attempt` does next.
    pub(crate) fn step(&mut self, attempt: u64) -> Step<S> {
        if attempt != self.attempt {
            return Step::Superseded;
        }
        if let Some(chunk) = self.next_chunk() {
            self.sent = self.sent.saturating_add(len(&chunk));
            return Step::Send { frame: Frame::data(chunk), last: self.is_at_end() };
        }
        match mem::replace(&mut self.source, Source::Busy) {
            Source::Idle(source) => Step::Read { source, waker: self.waker.take() },
            Source::Busy => Step::Busy,
            Source::Ended => {
                self.source = Source::Ended;
                match self.next_trailers() {
                    Some(trailers) => Step::Send { frame: Frame::trailers(trailers), last: true },
                    None => Step::End,
                }
            }
            Source::Failed(error) => {
                self.source = Source::Failed(None);
                Step::Failed(error)
            }
        }
    }

    /// Leaves a waker until the source is back, and hands out the one that it replaces.
    ///
    /// # Errors
    ///
    /// Gives the waker back if there is something to do at once: ask [`step`](Self::step) again.
    pub(crate) fn park(&mut self, attempt: u64, waker: Waker) -> Result<Option<Waker>, Waker> {
        match self.source {
            Source::Busy if attempt == self.attempt => Ok(self.waker.replace(waker)),
            _ => Err(waker),
        }
    }

    /// Takes the source back, with its answer and what it says about its rest.
    pub(crate) fn put(
        &mut self,
        attempt: u64,
        source: S,
        rest: SizeHint,
        polled: Polled<'_>,
    ) -> (Turn, Leftovers<S>) {
        let current = attempt == self.attempt;
        let mut leftovers = self.leftovers();
        let ended = match polled {
            Polled::Pending(waker) => {
                // Should it be that of a superseded attempt, it is in nobody's way: the current one
                // has just been woken, and will leave its own.
                self.waker = Some(waker);
                false
            }
            Polled::Frame { frame, last } => {
                if let Some(chunk) = frame.data_ref() {
                    leftovers.chunks = self.record_chunk(chunk, current);
                }
                if let Some(trailers) = frame.trailers_ref() {
                    self.record_trailers(trailers, current);
                }
                // RFC 9110, section 6.5: nothing comes after the trailers.
                last || frame.is_trailers()
            }
            Polled::End => true,
        };
        self.rest = rest;
        self.source = Source::Idle(source);
        if ended {
            leftovers.source = self.end();
        }
        let turn = if current { Turn::Send { last: self.is_at_end() } } else { Turn::Superseded };
        (turn, leftovers)
    }

    /// Notes that the source failed while `attempt` polled it, with its error unless it panicked.
    ///
    /// The current attempt gets the error back; otherwise it is kept for the one that took over.
    pub(crate) fn fail(
        &mut self,
        attempt: u64,
        error: Option<BoxError>,
    ) -> (Option<BoxError>, Leftovers<S>) {
        let current = attempt == self.attempt;
        let (mine, kept) = if current { (error, None) } else { (None, error) };
        self.source = Source::Failed(kept);
        (mine, self.leftovers())
    }

    /// Lets a new attempt read from the start, supersedes the one before, and returns the number of
    /// the new one.
    ///
    /// The superseded one is woken, so that it lets go of its connection: its waker in the source
    /// is about to be replaced.
    ///
    /// # Errors
    ///
    /// If the body cannot be read again; the current attempt then goes on.
    pub(crate) fn take_over(&mut self) -> Result<(u64, Leftovers<S>), NotReplayable> {
        self.replayable()?;
        self.attempt += 1;
        self.sent = 0;
        self.next = 0;
        self.trailers_sent = false;
        self.complete_by_length = false;
        Ok((self.attempt, self.leftovers()))
    }

    /// Stops recording: there will be no further attempt.
    pub(crate) fn stop(&mut self) -> Leftovers<S> {
        Leftovers { waker: None, source: None, chunks: self.forget(Keep::Stopped) }
    }

    /// Says whether a further attempt is possible.
    pub(crate) fn replayable(&self) -> Result<(), NotReplayable> {
        match (&self.source, self.keep) {
            (Source::Failed(_), _) => Err(NotReplayable::Failed),
            (_, Keep::Overflowed) => Err(NotReplayable::TooLarge),
            (_, Keep::Recording | Keep::Stopped) => Ok(()),
        }
    }

    /// Notes that the body of `attempt` was dropped before it was at its end.
    pub(crate) fn let_go(&mut self, attempt: u64) {
        let by_length = self.sized && self.rest.exact() == Some(0) && self.sent == self.read;
        self.complete_by_length |= by_length && attempt == self.attempt;
    }

    /// Whether the current attempt sent the whole body.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete_by_length || self.is_at_end()
    }

    /// Whether nothing is left to send for the current attempt.
    fn is_at_end(&self) -> bool {
        matches!(self.source, Source::Ended)
            && self.next == self.chunks.len()
            && (self.trailers_sent || self.trailers.is_none())
    }

    /// Whether nothing is left to send for `attempt`.
    pub(crate) fn is_end(&self, attempt: u64) -> bool {
        attempt == self.attempt && self.is_at_end()
    }

    /// What is left to send for `attempt`, in bytes.
    ///
    /// A length that the first attempt did not know stays unknown to the later ones, even if the
    /// body has been read to its end by then: they would otherwise be framed by a Content-Length,
    /// and lose the trailers that only the chunked coding carries (RFC 9112, section 7.1.2).
    pub(crate) fn size_hint(&self, attempt: u64) -> SizeHint {
        if attempt != self.attempt {
            return SizeHint::new();
        }
        if self.is_at_end() {
            return SizeHint::with_exact(0);
        }
        let ahead = self.read - self.sent;
        let known = self.sized || (ahead == 0 && !matches!(self.source, Source::Ended));
        let mut hint = SizeHint::new();
        hint.set_lower(self.rest.lower().saturating_add(ahead));
        if let Some(upper) =
            self.rest.upper().filter(|_| known).and_then(|upper| upper.checked_add(ahead))
        {
            hint.set_upper(upper);
        }
        hint
    }

    fn next_chunk(&mut self) -> Option<Bytes> {
        if self.keep != Keep::Recording {
            return self.chunks.pop_front();
        }
        let chunk = self.chunks.get(self.next)?.clone();
        self.next += 1;
        Some(chunk)
    }

    fn next_trailers(&mut self) -> Option<HeaderMap> {
        if self.trailers_sent {
            return None;
        }
        self.trailers_sent = true;
        match self.keep {
            Keep::Recording => self.trailers.clone(),
            Keep::Overflowed | Keep::Stopped => self.trailers.take(),
        }
    }

    /// Counts a chunk that came out of the source, keeps it if it will be needed, and returns those
    /// that will not.
    fn record_chunk(&mut self, chunk: &Bytes, current: bool) -> VecDeque<Bytes> {
        let mut freed = VecDeque::new();
        self.read = self.read.saturating_add(len(chunk));
        if self.keep == Keep::Recording && self.cap < self.read {
            freed = self.forget(Keep::Overflowed);
        }
        // An empty chunk is not worth its place: a source of nothing else would fill the memory
        // under any cap.
        let kept = !chunk.is_empty() && (self.keep == Keep::Recording || !current);
        if kept {
            self.chunks.push_back(chunk.clone());
        }
        if current {
            // Who polls the source has sent all that came before.
            self.sent = self.read;
            self.next = self.chunks.len();
        }
        freed
    }

    fn record_trailers(&mut self, trailers: &HeaderMap, current: bool) {
        if self.keep == Keep::Recording || !current {
            self.trailers = Some(trailers.clone());
        }
        self.trailers_sent = current;
    }

    /// Stops recording, and returns the chunks that the current attempt has sent.
    fn forget(&mut self, keep: Keep) -> VecDeque<Bytes> {
        let unsent = self.chunks.split_off(self.next);
        self.next = 0;
        self.keep = keep;
        mem::replace(&mut self.chunks, unsent)
    }

    fn end(&mut self) -> Option<S> {
        self.rest = SizeHint::with_exact(0);
        match mem::replace(&mut self.source, Source::Ended) {
            Source::Idle(source) => Some(source),
            Source::Busy | Source::Ended | Source::Failed(_) => None,
        }
    }

    /// The waker is that of an attempt which waits: for the source, or for its return.
    fn leftovers(&mut self) -> Leftovers<S> {
        Leftovers { waker: self.waker.take(), source: None, chunks: VecDeque::new() }
    }
}

impl<S> Leftovers<S> {
    /// Wakes and drops, which may run the code of others.
    pub(crate) fn settle(self) {
        if let Some(waker) = self.waker {
            waker.wake();
        }
    }
}

fn len(chunk: &Bytes) -> u64 {
    u64::try_from(chunk.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        task::Wake,
    };

    use super::*;

    /// A source of the letters from `a` on, `left` of them.
    struct Letters {
        next: u8,
        left: u64,
    }

    #[derive(Default)]
    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// One attempt, cut into its critical sections.
    struct Attempt {
        number: Option<u64>,
        holds: Option<Letters>,
        busy: bool,
        parked: bool,
        woken: Arc<Flag>,
        sent: Vec<u8>,
        outcome: Option<Result<(), &'static str>>,
    }

    impl Attempt {
        fn new(number: Option<u64>) -> Self {
            Self {
                number,
                holds: None,
                busy: false,
                parked: false,
                woken: Arc::default(),
                sent: Vec::new(),
                outcome: None,
            }
        }

        /// Enters the lock once. False if it has ended or nobody has woken it.
        fn turn(&mut self, record: &mut Record<Letters>) -> bool {
            if self.outcome.is_some()
                || (self.parked && !self.woken.0.swap(false, Ordering::Relaxed))
            {
                return false;
            }
            self.parked = false;
            let Some(number) = self.number else {
                let Ok((number, leftovers)) = record.take_over() else { panic!("not replayable") };
                leftovers.settle();
                self.number = Some(number);
                return true;
            };
            if mem::take(&mut self.busy) {
                self.parked = record.park(number, Arc::clone(&self.woken).into()).is_ok();
                return true;
            }
            if let Some(mut source) = self.holds.take() {
                let chunk = Bytes::copy_from_slice(&[source.next]);
                source.next += 1;
                source.left -= 1;
                let (rest, last) = (SizeHint::with_exact(source.left), source.left == 0);
                let frame = Frame::data(chunk);
                let (turn, leftovers) =
                    record.put(number, source, rest, Polled::Frame { frame: &frame, last });
                leftovers.settle();
                match turn {
                    Turn::Send { last } => self.send(&frame, last),
                    Turn::Superseded => self.outcome = Some(Err("superseded")),
                }
                return true;
            }
            match record.step(number) {
                Step::Send { frame, last } => self.send(&frame, last),
                Step::End => self.outcome = Some(Ok(())),
                Step::Read { source, .. } => self.holds = Some(source),
                Step::Busy => self.busy = true,
                Step::Failed(_) => self.outcome = Some(Err("failed")),
                Step::Superseded => self.outcome = Some(Err("superseded")),
            }
            true
        }

        fn send(&mut self, frame: &Frame<Bytes>, last: bool) {
            self.sent.extend_from_slice(frame.data_ref().unwrap());
            if last {
                self.outcome = Some(Ok(()));
            }
        }
    }

    /// Whatever the threads do, they meet at the lock only: the orders of entering it are all there
    /// is, and here are those of three attempts in the first turns.
    #[test]
    fn newest_attempt_gets_every_byte_once_in_every_interleaving() {
        const TURNS: u32 = 11;
        const WHOLE: &[u8] = b"ab";
        for cap in [1, 2] {
            let mut taken_over_in_a_poll = 0;
            for schedule in 0..3_usize.pow(TURNS) {
                let source = Letters { next: b'a', left: 2 };
                let mut record = Record::new(source, SizeHint::with_exact(2), cap);
                let mut attempts = [Some(0), None, None].map(Attempt::new);
                let mut newest = 0;
                for turn in 0..TURNS {
                    let who = schedule / 3_usize.pow(turn) % 3;
                    if newest < who {
                        if who - newest != 1 || record.replayable().is_err() {
                            continue;
                        }
                        newest = who;
                        taken_over_in_a_poll += u32::from(attempts[0].holds.is_some());
                    }
                    attempts[who].turn(&mut record);
                }
                let attempts = &mut attempts[..=newest];
                while attempts.iter_mut().any(|attempt| attempt.turn(&mut record)) {}

                for attempt in attempts {
                    assert!(WHOLE.starts_with(&attempt.sent), "{schedule}");
                    let whole = attempt.sent == WHOLE;
                    let outcome = if whole { Ok(()) } else { Err("superseded") };
                    assert_eq!(attempt.outcome, Some(outcome), "{schedule}");
                    assert!(whole || attempt.number != Some(newest as u64), "{schedule}");
                }
            }
            assert!(0 < taken_over_in_a_poll);
        }
    }

    #[test]
    fn trailers_are_sent_once() {
        let mut record = Record::new((), SizeHint::new(), 0);
        assert!(matches!(record.step(0), Step::Read { .. }));
        let frame = Frame::trailers(HeaderMap::new());
        let polled = Polled::Frame { frame: &frame, last: false };
        let (turn, leftovers) = record.put(0, (), SizeHint::new(), polled);
        leftovers.settle();
        assert_eq!(turn, Turn::Send { last: true });
        assert!(matches!(record.step(0), Step::End));
        let (attempt, leftovers) = record.take_over().unwrap();
        leftovers.settle();
        assert!(matches!(record.step(attempt), Step::Send { last: true, .. }));
        assert!(matches!(record.step(attempt), Step::End));
    }

    #[test]
    fn length_that_overflows_is_unknown() {
        let mut hint = SizeHint::new();
        hint.set_lower(u64::MAX);
        hint.set_upper(u64::MAX);
        let mut record = Record::new((), hint, u64::MAX);
        assert!(matches!(record.step(0), Step::Read { .. }));
        let frame = Frame::data(Bytes::from_static(b"more"));
        let (turn, leftovers) =
            record.put(0, (), hint, Polled::Frame { frame: &frame, last: false });
        leftovers.settle();
        assert_eq!(turn, Turn::Send { last: false });
        let (attempt, leftovers) = record.take_over().unwrap();
        leftovers.settle();
        assert_eq!(record.size_hint(attempt).lower(), u64::MAX);
        assert_eq!(record.size_hint(attempt).upper(), None);
    }
}

use std::{
    mem,
    pin::Pin,
    sync::PoisonError,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

use crate::{
    error::{BoxError, NotReplayable, ReplayError},
    record::{Polled, Record, Step, Turn},
    sync::{Arc, Mutex, MutexGuard},
};

/// One attempt at reading a body that several attempts share.
pub(crate) struct Reader<B> {
    shared: Arc<Shared<B>>,
    attempt: u64,
    /// All was sent. It then stays at its end, even if superseded.
    ended: bool,
}

/// What the attempts share.
///
/// The source is boxed, as it changes hands: it is polled without the lock (by who took it) and
/// pinned throughout.
pub(crate) struct Shared<B>(Mutex<Record<Pin<Box<B>>>>);

impl<B: Body> Shared<B> {
    pub(crate) fn new(source: B, cap: u64) -> Self {
        let rest = source.size_hint();
        Self(Mutex::new(Record::new(Box::pin(source), rest, cap)))
    }
}

impl<B> Shared<B> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Record<Pin<Box<B>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Reader<B> {
    /// The first attempt.
    pub(crate) fn first(shared: Arc<Shared<B>>) -> Self {
        Self { shared, attempt: 0, ended: false }
    }

    /// A later attempt, which takes over from the one before.
    pub(crate) fn later(shared: Arc<Shared<B>>) -> Result<Self, NotReplayable> {
        let taken = shared.lock().take_over();
        let (attempt, leftovers) = taken?;
        leftovers.settle();
        Ok(Self { shared, attempt, ended: false })
    }

    pub(crate) fn attempt(&self) -> u64 {
        self.attempt
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.ended || self.shared.lock().is_end(self.attempt)
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        if self.ended {
            return SizeHint::with_exact(0);
        }
        self.shared.lock().size_hint(self.attempt)
    }
}

impl<B> Reader<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReplayError>>> {
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            let step = self.shared.lock().step(self.attempt);
            return Poll::Ready(match step {
                Step::Send { frame, last } => {
                    self.ended = last;
                    Some(Ok(frame))
                }
                Step::End => {
                    self.ended = true;
                    None
                }
                Step::Read { source, waker } => return self.read(source, waker, cx),
                Step::Busy => {
                    let waker = cx.waker().clone();
                    let parked = self.shared.lock().park(self.attempt, waker);
                    match parked {
                        Ok(_) => return Poll::Pending,
                        // The source came back meanwhile.
                        Err(_) => continue,
                    }
                }
                Step::Failed(Some(error)) => Some(Err(ReplayError::Body(error))),
                Step::Failed(None) => Some(Err(ReplayError::Failed)),
                Step::Superseded => Some(Err(ReplayError::Superseded)),
            });
        }
    }

    /// Polls the source without the lock, and brings it back.
    fn read(
        &mut self,
        mut source: Pin<Box<B>>,
        waker: Option<Waker>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReplayError>>> {
        let guard = FailOnUnwind(self);
        let frame = match poll_source(source.as_mut(), cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(frame)),
            Poll::Ready(Some(Err(error))) => {
                guard.defuse();
                return Poll::Ready(Some(Err(self.fail(error))));
            }
        };
        let rest = source.size_hint();
        let last = source.is_end_stream();
        let polled = match &frame {
            Poll::Pending => {
                let waker = waker.filter(|waker| waker.will_wake(cx.waker()));
                Polled::Pending(waker.unwrap_or_else(|| cx.waker().clone()))
            }
            Poll::Ready(None) => Polled::End,
            Poll::Ready(Some(frame)) => Polled::Frame { frame, last },
        };
        guard.defuse();

        let (turn, leftovers) = self.shared.lock().put(self.attempt, source, rest, polled);
        leftovers.settle();
        match turn {
            Turn::Superseded => Poll::Ready(Some(Err(ReplayError::Superseded))),
            Turn::Send { last } => {
                self.ended = last;
                frame.map(|frame| frame.map(Ok))
            }
        }
    }

    fn fail(&self, error: BoxError) -> ReplayError {
        let (error, leftovers) = self.shared.lock().fail(self.attempt, Some(error));
        leftovers.settle();
        error.map_or(ReplayError::Superseded, ReplayError::Body)
    }
}

impl<B> Drop for Reader<B> {
    fn drop(&mut self) {
        if !self.ended {
            self.shared.lock().let_go(self.attempt);
        }
    }
}

/// Tells the record that the source will not come back, if polling it panics.
struct FailOnUnwind<'a, B>(&'a Reader<B>);

impl<B> FailOnUnwind<'_, B> {
    fn defuse(self) {
        mem::forget(self);
    }
}

impl<B> Drop for FailOnUnwind<'_, B> {
    fn drop(&mut self) {
        let (_, leftovers) = self.0.shared.lock().fail(self.0.attempt, None);
        leftovers.settle();
    }
}

/// Polls a body, with data and error as one type for all.
pub(crate) fn poll_source<B>(
    source: Pin<&mut B>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BoxError>>>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    Poll::Ready(ready!(source.poll_frame(cx)).map(|polled| match polled {
        Ok(frame) => Ok(frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))),
        Err(error) => Err(error.into()),
    }))
}

/// What the tests of [`record`](crate::record) take for granted: that these few lines enter the
/// lock as they do there, and wake who waits.
#[cfg(all(test, palisade_loom))]
mod models {
    use std::{convert::Infallible, future::poll_fn, sync::atomic::Ordering};

    use loom::{
        future::{AtomicWaker, block_on},
        sync::atomic::AtomicBool,
        thread,
    };

    use super::*;

    const WHOLE: &[u8] = b"ab";

    /// A source of one letter after another.
    struct Letters {
        left: &'static [u8],
        gate: Arc<Gate>,
    }

    /// Has to be open before the last letter comes.
    struct Gate {
        open: AtomicBool,
        waker: AtomicWaker,
    }

    impl Gate {
        fn new(open: bool) -> Arc<Self> {
            Arc::new(Self { open: AtomicBool::new(open), waker: AtomicWaker::new() })
        }

        fn open(&self) {
            self.open.store(true, Ordering::Release);
            self.waker.wake();
        }

        fn poll(&self, cx: &Context<'_>) -> Poll<()> {
            if self.open.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            self.waker.register_by_ref(cx.waker());
            match self.open.load(Ordering::Acquire) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        }
    }

    impl Body for Letters {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.left.len() == 1 {
                ready!(self.gate.poll(cx));
            }
            Poll::Ready(
                self.left
                    .split_off_first()
                    .map(|letter| Ok(Frame::data(Bytes::copy_from_slice(&[*letter])))),
            )
        }
    }

    fn shared(gate: &Arc<Gate>) -> Arc<Shared<Letters>> {
        let gate = Arc::clone(gate);
        Arc::new(Shared::new(Letters { left: WHOLE, gate }, 2))
    }

    /// Reads to the end: the bytes, and whether the attempt was superseded.
    fn read(mut reader: Reader<Letters>) -> (Vec<u8>, bool) {
        let mut sent = Vec::new();
        while let Some(frame) = block_on(poll_fn(|cx| reader.poll_frame(cx))) {
            match frame {
                Ok(frame) => sent.extend_from_slice(&frame.into_data().expect("letters are data")),
                Err(ReplayError::Superseded) => return (sent, true),
                Err(error) => panic!("{error}"),
            }
        }
        (sent, false)
    }

    /// Both read at once, and each is where it has to be in the end.
    fn check(first: Reader<Letters>, later: impl FnOnce() -> Reader<Letters>) {
        let first = thread::spawn(move || {
            let (sent, superseded) = read(first);
            assert!(WHOLE.starts_with(&sent));
            assert!(superseded || sent == WHOLE);
        });
        assert_eq!(read(later()), (WHOLE.to_vec(), false));
        first.join().expect("the first attempt does not panic");
    }

    #[test]
    fn attempt_that_takes_over_sends_the_whole_body() {
        for last in [false, true] {
            loom::model(move || {
                let shared = shared(&Gate::new(true));
                check(Reader::first(Arc::clone(&shared)), || {
                    let later = Reader::later(Arc::clone(&shared)).unwrap();
                    if last {
                        let leftovers = shared.lock().stop();
                        leftovers.settle();
                    }
                    later
                });
            });
        }
    }

    #[test]
    fn attempt_that_takes_over_is_woken_by_the_source() {
        // Three threads have too many orders to try them all.
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(4);
        model.check(|| {
            let gate = Gate::new(false);
            let shared = shared(&gate);
            let opener = thread::spawn(move || gate.open());
            check(Reader::first(Arc::clone(&shared)), || {
                Reader::later(Arc::clone(&shared)).unwrap()
            });
            opener.join().unwrap();
        });
    }
}

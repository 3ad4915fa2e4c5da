//! One response, fetched for several: whoever polls drives it.
//!
//! No task is spawned. Each participant has a seat. Who polls and finds nothing
//! takes the work out, polls it without a lock, and puts it back; meanwhile the
//! others park their wakers. The work wakes all that are parked, so that nobody
//! depends on another one that is not polled any more, and what it yields wakes
//! those who parked since.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use palisade_core::BoxError;
use tokio::time::Instant;

use super::{
    pieces::Pieces,
    readers::Readers,
    seat::{Begin, Follow, Polled, Seat},
};
use crate::sync::{Mutex, lock};

/// What is driven: a call, and then the body of its response.
pub(crate) trait Work: Send + 'static {
    /// What is said of the head to all participants.
    type Heard: Clone + Send;
    /// What the one that began it gets for itself.
    type Lead: Send;

    /// Waits for the head.
    fn poll_head(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Head<Self>>;

    /// Waits for more of the body.
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled;

    /// Whether the body is at its end, and what is known of its size.
    fn hint(&self) -> (bool, SizeHint);

    /// The body has come to its end, and this is all of it, if it is kept, and what
    /// came after it. Says whether it is as long as it should be.
    fn finish(self: Pin<&mut Self>, pieces: Option<&Pieces>, trailers: Option<&HeaderMap>) -> bool;

    /// Nobody can join any more: the body is too large to be kept.
    fn close(self: Pin<&mut Self>);
}

/// What has come of the head.
pub(crate) struct Head<W: Work + ?Sized> {
    pub(crate) heard: W::Heard,
    pub(crate) lead: Option<W::Lead>,
    /// Whether the body is read by all, and how many bytes of it are kept.
    pub(crate) body: Option<u64>,
}

/// One response, fetched for several.
pub(crate) struct Fill<W: Work> {
    state: Mutex<State<W>>,
}

struct State<W: Work> {
    work: Progress<W>,
    // The head, once it has come.
    heard: Option<W::Heard>,
    lead: Option<W::Lead>,
    seats: Readers,
    // When it began, or when the latest step of the work came.
    progressed: Instant,
}

enum Progress<W> {
    Idle(Pin<Box<W>>),
    // Somebody polls it; it may have woken those who wait meanwhile.
    Polled { woken: bool },
    Over,
}

impl<W: Work> Fill<W> {
    /// A fill, and the seat of the one that begins it.
    pub(crate) fn begin(work: W) -> (Arc<Self>, Seat<W::Heard>) {
        let mut seats = Readers::default();
        let id = seats.enter(true);
        let work = Progress::Idle(Box::pin(work));
        let progressed = Instant::now();
        let state = Mutex::new(State { work, heard: None, lead: None, seats, progressed });
        let fill = Arc::new(Self { state });
        let seat = Seat::new(Arc::clone(&fill) as _, id);
        (fill, seat)
    }

    /// Drives the work until there is what is looked for.
    fn poll_until<T>(
        self: &Arc<Self>,
        seat: usize,
        cx: &mut Context<'_>,
        mut look: impl FnMut(&mut State<W>) -> Option<T>,
    ) -> Poll<T> {
        loop {
            let mut state = lock(&self.state);
            if let Some(found) = look(&mut state) {
                return Poll::Ready(found);
            }
            // Before the work is polled: it may wake at once.
            let before = state.seats.park(seat, cx.waker());
            let headless = state.heard.is_none();
            let work = state.take_work();
            drop(state);
            drop(before);
            let Some(work) = work else {
                return Poll::Pending;
            };
            let mut driver = Driver { fill: self, work: Some(work) };
            let waker = Waker::from(Arc::clone(self));
            if driver.poll(seat, headless, &mut Context::from_waker(&waker)).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl<W: Work> State<W> {
    fn take_work(&mut self) -> Option<Pin<Box<W>>> {
        match mem::replace(&mut self.work, Progress::Polled { woken: false }) {
            Progress::Idle(work) => Some(work),
            other => {
                self.work = other;
                None
            }
        }
    }

    /// Puts the work back, and says who has to be woken, as it woke in vain.
    fn put_back(&mut self, work: Pin<Box<W>>) -> Vec<Waker> {
        match mem::replace(&mut self.work, Progress::Idle(work)) {
            Progress::Polled { woken: true } => self.seats.wakers(),
            _ => Vec::new(),
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.work, Progress::Over)
    }
}

impl<W: Work> Follow<W::Heard> for Fill<W> {
    fn take_seat(&self, now: Instant, patience: Duration) -> Option<usize> {
        let mut state = lock(&self.state);
        // Who joins one that has come to a halt would wait with it.
        let flows = now.saturating_duration_since(state.progressed) < patience;
        let open = if state.is_over() { state.seats.is_complete() } else { flows };
        (open && state.seats.is_whole()).then(|| state.seats.enter(false))
    }

    fn poll_head(self: Arc<Self>, seat: usize, cx: &mut Context<'_>) -> Poll<Option<W::Heard>> {
        self.poll_until(seat, cx, |state| match &state.heard {
            Some(heard) => Some(Some(heard.clone())),
            None => state.is_over().then_some(None),
        })
    }

    fn poll_frame(self: Arc<Self>, seat: usize, cx: &mut Context<'_>) -> Polled {
        self.poll_until(seat, cx, |state| state.seats.read(seat))
    }

    fn hint(&self, seat: usize) -> (bool, SizeHint) {
        lock(&self.state).seats.hint(seat)
    }

    fn is_kept(&self) -> bool {
        let state = lock(&self.state);
        !state.is_over() && state.seats.is_whole()
    }

    fn leave(&self, seat: usize) {
        let mut state = lock(&self.state);
        let left = state.seats.leave(seat);
        // Nobody reads it any more.
        let work = if state.seats.is_empty() { state.take_work() } else { None };
        if work.is_some() {
            state.work = Progress::Over;
        }
        let lead = if state.seats.is_empty() { state.lead.take() } else { None };
        drop(state);
        drop((left, work, lead));
    }
}

impl<W: Work> Begin<W::Lead> for Fill<W> {
    fn take_lead(&self) -> Option<W::Lead> {
        lock(&self.state).lead.take()
    }
}

impl<W: Work> Wake for Fill<W> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        if let Progress::Polled { woken } = &mut state.work {
            *woken = true;
        }
        let wakers = state.seats.wakers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Who polls the work. If that panics, the fill is over.
struct Driver<'f, W: Work> {
    fill: &'f Arc<Fill<W>>,
    work: Option<Pin<Box<W>>>,
}

enum Step<W: Work> {
    Head(Head<W>),
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    Failed(BoxError),
}

impl<W: Work> Driver<'_, W> {
    fn poll(&mut self, seat: usize, headless: bool, cx: &mut Context<'_>) -> Poll<()> {
        let Some(work) = self.work.as_mut() else {
            return Poll::Ready(());
        };
        let polled = match headless {
            true => work.as_mut().poll_head(cx).map(Step::Head),
            false => work.as_mut().poll_frame(cx).map(Step::of),
        };
        match polled {
            Poll::Ready(step) => {
                self.take_in(seat, step);
                Poll::Ready(())
            }
            Poll::Pending => {
                let work = self.work.take();
                let wakers = work.map(|work| lock(&self.fill.state).put_back(work));
                wakers.into_iter().flatten().for_each(Waker::wake);
                Poll::Pending
            }
        }
    }

    /// Takes in what the work has come to, and wakes who waits for it.
    fn take_in(&mut self, seat: usize, step: Step<W>) {
        let Some(work) = self.work.as_mut() else {
            return;
        };
        let (at_end, size) = work.hint();
        let mut ended = at_end || matches!(step, Step::Trailers(_) | Step::End);
        let (mut over, mut closes, mut trailers) = (false, false, None);
        let now = Instant::now();
        let mut state = lock(&self.fill.state);
        state.progressed = now;
        match step {
            Step::Head(head) => {
                state.heard = Some(head.heard);
                state.lead = head.lead;
                match head.body {
                    Some(most) => state.seats.begin(most, size),
                    None => (over, ended) = (true, false),
                }
            }
            Step::Data(chunk) => closes = state.seats.push(chunk),
            Step::Trailers(fields) => trailers = Some(fields),
            Step::End => {}
            Step::Failed(error) => {
                state.seats.fail(error);
                (over, ended) = (true, false);
            }
        }
        // Who comes to read meanwhile finds nothing, and is woken with the others.
        let pieces = if ended { state.seats.take_pieces() } else { None };
        drop(state);

        // It may call the store, so not under the lock; and before others learn of the end, so
        // that they find what is stored.
        let work_mut = work.as_mut();
        let whole = match (ended, closes) {
            (true, _) => work_mut.finish(pieces.as_ref(), trailers.as_ref()),
            (false, true) => {
                work_mut.close();
                true
            }
            (false, false) => true,
        };
        let work = self.work.take();
        let mut state = lock(&self.fill.state);
        if let Some(pieces) = pieces {
            state.seats.give_back(pieces);
        }
        if ended {
            state.seats.end(whole, trailers);
        }
        let work = match work {
            Some(work) if !over && !ended => {
                state.work = Progress::Idle(work);
                None
            }
            work => {
                state.work = Progress::Over;
                work
            }
        };
        let own = state.seats.unpark(seat);
        let wakers = state.seats.wakers();
        drop(state);
        // Before the rest is dropped, which may panic.
        wakers.into_iter().for_each(Waker::wake);
        drop((own, work));
    }
}

impl<W: Work> Step<W> {
    fn of(frame: Option<Result<Frame<Bytes>, BoxError>>) -> Self {
        match frame {
            None => Self::End,
            Some(Err(error)) => Self::Failed(error),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(chunk) => Self::Data(chunk),
                Err(frame) => match frame.into_trailers() {
                    Ok(trailers) if !trailers.is_empty() => Self::Trailers(trailers),
                    _ => Self::End,
                },
            },
        }
    }
}

impl<W: Work> Drop for Driver<'_, W> {
    fn drop(&mut self) {
        if self.work.is_none() {
            return;
        }
        let mut state = lock(&self.fill.state);
        state.work = Progress::Over;
        state.seats.panicked();
        let wakers = state.seats.wakers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

#[cfg(all(test, palisade_shuttle))]
mod models;

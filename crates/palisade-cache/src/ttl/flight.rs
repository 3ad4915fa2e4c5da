use std::{
    fmt, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use tokio::time::Instant;

use super::{bell::Bell, line::Line};
use crate::sync::{Mutex, lock};

/// One call that several wait for.
///
/// It belongs to none of them: whoever is polled when the call can go on polls
/// it, and who leaves, or is not polled any more, takes nothing along but its
/// place. If the call comes to nothing, by an error or a panic, that goes to who
/// polled it, and one of the others calls again.
///
/// `A` is the answer, `C` the call. One that has not been polled yet is what
/// everybody brings along, to call with if need be.
pub(crate) struct Flight<A, C> {
    // Locked before the line.
    state: Mutex<State<A, C>>,
    bell: Arc<Bell>,
    // Rings it.
    waker: Waker,
}

struct State<A, C> {
    stage: Stage<A, C>,
    // Of those who got the error of a call that another had begun with its own: so whoever waits
    // has something to call with, or a call is under way.
    spares: Vec<C>,
    // How many calls more may come to nothing before everybody calls alone.
    attempts: u32,
    // When the call was begun, if that is of interest.
    since: Option<Instant>,
}

enum Stage<A, C> {
    // Nobody calls; who is polled first does.
    Vacant,
    // Nobody polls the call.
    Idle(Pin<Box<C>>),
    // Somebody polls the call, or makes something of its result.
    Busy,
    // There is an answer.
    Landed(A),
    // There will be none.
    Disbanded,
}

/// A call to go on with.
enum Taken<C> {
    New(C),
    Begun(Pin<Box<C>>),
}

/// What there is to do for who was polled.
pub(crate) enum Turn<'f, A, C: Future> {
    /// To wait.
    Wait,
    /// To take this answer.
    Landed(A),
    /// To make an answer of what the call came to.
    Over(C::Output, Driving<'f, A, C>),
    /// To call alone.
    Alone(C),
}

impl<A: Clone, C> Flight<A, C> {
    /// With a bound for the calls that are made one after the other.
    pub(crate) fn new(attempts: u32) -> Self {
        let bell = Arc::<Bell>::default();
        let waker = Waker::from(Arc::clone(&bell));
        let state = State { stage: Stage::Vacant, spares: Vec::new(), attempts, since: None };
        Self { state: Mutex::new(state), bell, waker }
    }

    /// Takes a place.
    pub(crate) fn enter(&self) -> usize {
        self.bell.line().enter()
    }

    /// Whether there is something to wait for.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(lock(&self.state).stage, Stage::Landed(_) | Stage::Disbanded)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bell.line().is_empty()
    }

    /// Gives a place up; says whether it was the last.
    pub(crate) fn leave(&self, place: usize) -> bool {
        let mut line = self.bell.line();
        let waker = line.leave(place);
        let last = line.is_empty();
        drop(line);
        drop(waker);
        last
    }

    /// Goes on with the call, if it can go on and nobody else is at it; begins
    /// one with `own`, if there is none, and by `now` says when.
    pub(crate) fn poll<'f>(
        &'f self,
        place: usize,
        own: &'f mut Option<C>,
        now: impl FnOnce() -> Option<Instant>,
        cx: &Context<'_>,
    ) -> Turn<'f, A, C>
    where
        C: Future,
    {
        let mut state = lock(&self.state);
        let mut line = self.bell.line();
        let Some(taken) = state.take(own, &mut line) else {
            if let Some(turn) = state.turn(own) {
                return turn;
            }
            let before = line.park(place, cx.waker());
            drop((line, state));
            drop(before);
            return Turn::Wait;
        };
        let before = line.begin(place);
        if matches!(taken, Taken::New(_)) {
            state.since = now();
        }
        let since = state.since;
        drop((line, state));
        let driving = Driving { flight: self, place, own, since, over: false };
        drop(before);
        let mut call = match taken {
            Taken::New(call) => Box::pin(call),
            Taken::Begun(call) => call,
        };
        match call.as_mut().poll(&mut Context::from_waker(&self.waker)) {
            Poll::Ready(output) => {
                // Here, as it may panic: then it is as if the call had.
                drop(call);
                Turn::Over(output, driving)
            }
            Poll::Pending => {
                driving.put_back(call, cx.waker());
                Turn::Wait
            }
        }
    }
}

impl<A: Clone, C> State<A, C> {
    /// The call, if it can go on, or one to begin, if nobody calls.
    fn take(&mut self, own: &mut Option<C>, line: &mut Line) -> Option<Taken<C>> {
        match mem::replace(&mut self.stage, Stage::Busy) {
            Stage::Idle(call) if line.answer() => return Some(Taken::Begun(call)),
            Stage::Vacant => {
                if let Some(call) = own.take().or_else(|| self.spares.pop()) {
                    return Some(Taken::New(call));
                }
                self.stage = Stage::Vacant;
            }
            stage => self.stage = stage,
        }
        None
    }

    /// What there is to do for who has no call to go on with, but to wait.
    fn turn<'f>(&mut self, own: &mut Option<C>) -> Option<Turn<'f, A, C>>
    where
        C: Future,
    {
        match &self.stage {
            Stage::Landed(answer) => Some(Turn::Landed(answer.clone())),
            Stage::Disbanded => {
                let call = own.take().or_else(|| self.spares.pop());
                Some(Turn::Alone(call.expect("who waits has something to call with")))
            }
            Stage::Vacant | Stage::Idle(_) | Stage::Busy => None,
        }
    }
}

/// Dropped, it lets another one call.
pub(crate) struct Driving<'f, A, C> {
    flight: &'f Flight<A, C>,
    place: usize,
    own: &'f mut Option<C>,
    since: Option<Instant>,
    over: bool,
}

impl<A, C> Driving<'_, A, C> {
    /// When the call was begun.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Whether anybody else waits.
    pub(crate) fn has_others(&self) -> bool {
        self.flight.bell.line().has_others()
    }

    /// Gives the answer to everybody; none, if there is nobody else.
    pub(crate) fn land(mut self, answer: Option<A>) {
        self.over = true;
        self.end(|state| state.stage = answer.map_or(Stage::Disbanded, Stage::Landed));
    }

    fn put_back(mut self, call: Pin<Box<C>>, waker: &Waker) {
        let waker = waker.clone();
        self.over = true;
        let mut state = lock(&self.flight.state);
        state.stage = Stage::Idle(call);
        let woken = self.flight.bell.line().put_back(self.place, waker);
        drop(state);
        woken.wake();
    }

    fn end(&self, change: impl FnOnce(&mut State<A, C>)) {
        let mut state = lock(&self.flight.state);
        change(&mut state);
        let woken = self.flight.bell.line().end();
        drop(state);
        woken.wake();
    }
}

impl<A, C> Drop for Driving<'_, A, C> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        // Who began the call may still wait, with nothing to call with.
        let spare = self.own.take();
        self.end(|state| {
            state.spares.extend(spare);
            state.attempts = state.attempts.saturating_sub(1);
            state.stage = if state.attempts == 0 { Stage::Disbanded } else { Stage::Vacant };
        });
    }
}

impl<A, C> fmt::Debug for Flight<A, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight").finish_non_exhaustive()
    }
}

#[cfg(all(test, palisade_shuttle))]
mod models;
#[cfg(all(test, not(palisade_shuttle)))]
mod tests;

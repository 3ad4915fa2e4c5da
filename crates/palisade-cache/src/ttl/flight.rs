use std::{
    fmt, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use super::{bell::Bell, line::Line};
use crate::sync::{Mutex, lock};

/// One call that several wait for.
///
/// It belongs to none of them: whoever is polled when the call can go on polls
/// it, and who leaves takes nothing along but its place. If the call comes to
/// nothing, by an error or a panic, that goes to who polled it, and one of the
/// others calls again.
///
/// `A` is the answer, `C` the call. One that has not been polled yet is what
/// everybody brings along, to call with if need be.
pub(crate) struct Flight<A, C> {
    state: Mutex<State<A, C>>,
    bell: Arc<Bell>,
    // Rings it.
    waker: Waker,
}

struct State<A, C> {
    stage: Stage<A, C>,
    line: Line,
    // Of those who got the error of a call that another had begun with its own: so whoever waits
    // has something to call with, or a call is under way.
    spares: Vec<C>,
    // How many calls more may come to nothing before everybody calls alone.
    attempts: u32,
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
        let line = Line::default();
        let state = State { stage: Stage::Vacant, line, spares: Vec::new(), attempts };
        Self { state: Mutex::new(state), bell, waker }
    }

    /// Takes a place.
    pub(crate) fn enter(&self) -> usize {
        lock(&self.state).line.enter()
    }

    /// Whether there is something to wait for.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(lock(&self.state).stage, Stage::Landed(_) | Stage::Disbanded)
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.state).line.is_empty()
    }

    /// Gives a place up; says whether it was the last.
    pub(crate) fn leave(&self, place: usize) -> bool {
        let (woken, last) = {
            let mut state = lock(&self.state);
            let drove = state.line.leave(place);
            let woken = match state.stage {
                Stage::Vacant if drove => state.line.elect(),
                Stage::Idle(_) if drove => {
                    state.line.elect().and_then(|waker| self.bell.hand_over(waker))
                }
                _ => None,
            };
            (woken, state.line.is_empty())
        };
        if let Some(woken) = woken {
            woken.wake();
        }
        last
    }

    /// Goes on with the call, if it can go on and nobody else is at it; begins
    /// one with `own`, if there is none.
    pub(crate) fn poll<'f>(
        &'f self,
        place: usize,
        own: &'f mut Option<C>,
        cx: &Context<'_>,
    ) -> Turn<'f, A, C>
    where
        C: Future,
    {
        let mut state = lock(&self.state);
        let spare = match state.stage {
            Stage::Vacant => own.take().or_else(|| state.spares.pop()),
            _ => None,
        };
        let begun = match mem::replace(&mut state.stage, Stage::Busy) {
            Stage::Idle(call) if self.bell.answer(cx.waker(), state.line.drives(place)) => Ok(call),
            stage => match spare {
                Some(call) => {
                    self.bell.attend(cx.waker());
                    Err(call)
                }
                None => {
                    state.stage = stage;
                    return state.turn(place, own, cx.waker());
                }
            },
        };
        state.line.drive(place);
        drop(state);
        let driving = Driving { flight: self, place, own, over: false };
        let mut call = begun.unwrap_or_else(Box::pin);
        match call.as_mut().poll(&mut Context::from_waker(&self.waker)) {
            Poll::Ready(output) => Turn::Over(output, driving),
            Poll::Pending => {
                driving.put_back(call, cx.waker());
                Turn::Wait
            }
        }
    }
}

impl<A: Clone, C> State<A, C> {
    /// What there is to do for who does not drive.
    fn turn<'f>(&mut self, place: usize, own: &mut Option<C>, waker: &Waker) -> Turn<'f, A, C>
    where
        C: Future,
    {
        match &self.stage {
            Stage::Landed(answer) => Turn::Landed(answer.clone()),
            Stage::Disbanded => {
                let call = own.take().or_else(|| self.spares.pop());
                Turn::Alone(call.expect("who waits has something to call with"))
            }
            Stage::Vacant | Stage::Idle(_) | Stage::Busy => {
                self.line.park(place, waker);
                Turn::Wait
            }
        }
    }
}

/// Dropped, it lets another one call.
pub(crate) struct Driving<'f, A, C> {
    flight: &'f Flight<A, C>,
    place: usize,
    own: &'f mut Option<C>,
    over: bool,
}

impl<A, C> Driving<'_, A, C> {
    /// Whether anybody else waits.
    pub(crate) fn has_others(&self) -> bool {
        lock(&self.flight.state).line.has_others()
    }

    /// Gives the answer to everybody; none, if there is nobody else.
    pub(crate) fn land(mut self, answer: Option<A>) {
        self.over = true;
        let stage = answer.map_or(Stage::Disbanded, Stage::Landed);
        let woken = {
            let mut state = lock(&self.flight.state);
            state.stage = stage;
            state.line.wake_all()
        };
        woken.into_iter().for_each(Waker::wake);
    }

    fn put_back(mut self, call: Pin<Box<C>>, waker: &Waker) {
        self.over = true;
        let mut state = lock(&self.flight.state);
        state.line.park(self.place, waker);
        state.stage = Stage::Idle(call);
    }
}

impl<A, C> Drop for Driving<'_, A, C> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let woken = {
            let mut state = lock(&self.flight.state);
            // Who began the call may still wait, with nothing to call with.
            state.spares.extend(self.own.take());
            state.attempts = state.attempts.saturating_sub(1);
            match state.attempts {
                0 => {
                    state.stage = Stage::Disbanded;
                    state.line.wake_all()
                }
                _ => {
                    state.stage = Stage::Vacant;
                    state.line.elect().into_iter().collect()
                }
            }
        };
        woken.into_iter().for_each(Waker::wake);
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

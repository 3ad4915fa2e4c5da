use std::{sync::atomic::Ordering, time::Duration};

use palisade_core::Event;
use palisade_settings::Step;

use super::Breaker;
use crate::{State, mark::Mark, settings::nanos, word::Word};

/// From one state to another.
impl Breaker {
    /// Goes into a state by somebody's order, whatever there was before.
    pub(crate) fn force(&self, state: State, reason: &'static str) {
        loop {
            let word = self.word();
            let stays = word.state == state && state != State::Closed;
            if stays || self.enter(word, word.next(state), reason, self.settings.now(), None) {
                return;
            }
        }
    }

    /// Refuses from now on, or only says that it would.
    pub(crate) fn observe(&self, observed: bool) {
        loop {
            let word = self.word();
            if self.exchange(word, Word { observed, ..word }) {
                self.settings.changed.notify_waiters();
                return;
            }
        }
    }

    #[inline]
    pub(super) fn exchange(&self, from: Word, to: Word) -> bool {
        let (from, to) = (from.pack(), to.pack());
        let exchanged =
            self.control.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
        exchanged.is_ok()
    }

    /// Begins another state, unless the word has changed meanwhile.
    #[cold]
    pub(super) fn enter(
        &self,
        from: Word,
        to: Word,
        reason: &'static str,
        now: u64,
        hint: Option<Duration>,
    ) -> bool {
        // May run a schedule of the user, so before anything has changed.
        let (mark, drawn) = self.mark_for(to.state, now, hint);
        if !self.exchange(from, to) {
            return false;
        }
        self.publish(mark.of(to.generation));
        self.since.fetch_max(now, Ordering::Relaxed);
        match to.state {
            State::Open => {
                let millis = u32::try_from(drawn.as_millis()).unwrap_or(u32::MAX);
                self.opened_for.store(millis, Ordering::Relaxed);
            }
            // So that the first call is admitted.
            State::RampUp => self.ramp.store(u32::MAX, Ordering::Relaxed),
            _ => {}
        }
        self.settings.changed.notify_waiters();
        if let Some(observer) = self.settings.observer.get() {
            let (from, generation) = (from.state.as_str(), to.generation);
            let event = Event::Breaker { from, to: to.state.as_str(), reason, generation };
            observer.on_event(self.target(), &event);
        }
        true
    }

    /// When a state ends that begins now, and how long the settings say it
    /// lasts. `hint` comes with [`Open`](State::Open) alone.
    fn mark_for(&self, state: State, now: u64, hint: Option<Duration>) -> (Mark, Duration) {
        let streak = self.mark().streak;
        let (streak, says) = match state {
            State::Open => {
                let streak = streak.saturating_add(1);
                (streak, self.draw(streak))
            }
            State::HalfOpen => (streak, self.settings.half_open.time_limit()),
            State::RampUp => (streak, self.settings.ramp_up),
            State::Closed | State::ForcedOpen | State::Disabled => (0, Duration::ZERO),
        };
        let asked = hint.unwrap_or_default().min(self.settings.longest_hint);
        (Mark::new(streak, now.saturating_add(nanos(says.max(asked)))), says)
    }

    /// How long the schedule has the breaker open this time.
    fn draw(&self, streak: u8) -> Duration {
        let previous = match streak {
            1 => 0,
            _ => self.opened_for.load(Ordering::Relaxed),
        };
        let random = self.settings.random.unit();
        let previous = Duration::from_millis(previous.into());
        self.settings.open_for.delay(&Step::new(streak.into(), previous, random))
    }

    /// Gives a half-open state the time that a call takes which begins now.
    pub(super) fn prolong(&self, word: Word, now: u64) {
        let (mark, _) = self.mark_for(State::HalfOpen, now, None);
        self.publish(mark.of(word.generation));
    }

    /// Writes the mark of a state, unless a later one stands there already.
    fn publish(&self, mark: Mark) {
        let later = |word| mark.is_after(Mark::unpack(word)).then(|| mark.pack());
        let _ = self.mark.fetch_update(Ordering::AcqRel, Ordering::Acquire, later);
    }
}

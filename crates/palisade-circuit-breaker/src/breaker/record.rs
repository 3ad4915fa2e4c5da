use std::time::Duration;

use super::{Breaker, Kind, Token};
use crate::{
    OnCancel, State,
    settings::nanos,
    window::Entry,
    word::{Grade, MAX_COUNT, Word},
};

/// What a call counts for when it has ended.
impl Breaker {
    /// Counts a call that has ended. `hint` says how long the service asks to
    /// be left alone, and is asked when the breaker opens.
    #[inline]
    pub(crate) fn record(
        &self,
        token: Token,
        grade: Grade,
        hint: impl Fn() -> Option<Duration>,
        now: impl Fn() -> u64,
    ) {
        match token.kind {
            Kind::Call => self.record_call(token, grade, hint, now),
            Kind::Probe => self.record_probe(token, grade, hint, now),
            Kind::Uncounted => {}
        }
    }

    /// Counts a call that could not be made, as the service did not get ready.
    pub(crate) fn count_unready(&self, grade: Grade) {
        let now = || self.settings.now();
        let token = self.admit(now).unwrap_or(Token::UNCOUNTED);
        self.record(token, grade, || None, now);
    }

    /// Counts a call that was dropped or panicked: as `otherwise`, unless the
    /// policy for such calls makes it a failure.
    pub(crate) fn abandon(
        &self,
        token: Token,
        panicked: bool,
        otherwise: Grade,
        now: impl Fn() -> u64,
    ) {
        let grade = match self.settings.on_cancel {
            _ if panicked => Grade::Failure,
            OnCancel::FailureAfter(limit)
                if nanos(limit) <= now().saturating_sub(token.started) =>
            {
                Grade::Failure
            }
            _ => otherwise,
        };
        self.record(token, grade, || None, now);
    }

    #[inline]
    fn record_call(
        &self,
        token: Token,
        grade: Grade,
        hint: impl Fn() -> Option<Duration>,
        now: impl Fn() -> u64,
    ) {
        let generation = token.generation;
        let current = || self.word().generation == generation;
        if grade == Grade::Ignore || !current() {
            return;
        }
        let settings = &*self.settings;
        let timed = settings.trip.slow_after().is_some() || settings.windows.needs_time();
        let ended = if timed { now() } else { 0 };

        if let Some(limit) = settings.trip.failures_in_row()
            && limit <= self.count_row(generation, grade)
        {
            return self.open(generation, "consecutive_failures", hint(), now());
        }
        let entry =
            Entry { generation, failed: grade != Grade::Success, slow: self.is_slow(token, ended) };
        settings.windows.add(&self.window, entry, ended, current);
        // A success opens nothing.
        if !entry.failed && !entry.slow {
            return;
        }
        let counts = settings.windows.counts(&self.window, generation, ended);
        if let Some(reason) = settings.trip.judge(counts) {
            self.open(generation, reason, hint(), now());
        }
    }

    fn is_slow(&self, token: Token, ended: u64) -> bool {
        let limit = self.settings.trip.slow_after();
        limit.is_some_and(|limit| nanos(limit) <= ended.saturating_sub(token.started))
    }

    /// How many failures there are in a row, this call included.
    #[inline]
    fn count_row(&self, generation: u32, grade: Grade) -> u32 {
        loop {
            let word = self.word();
            let count = match grade {
                _ if word.generation != generation => return 0,
                Grade::Failure => (word.count + 1).min(MAX_COUNT),
                Grade::Success => 0,
                Grade::Soft | Grade::Ignore => return 0,
            };
            if count == word.count || self.exchange(word, Word { count, ..word }) {
                return count;
            }
        }
    }

    fn record_probe(
        &self,
        token: Token,
        grade: Grade,
        hint: impl Fn() -> Option<Duration>,
        now: impl Fn() -> u64,
    ) {
        let slow = grade != Grade::Ignore
            && self.settings.trip.slow_after().is_some()
            && self.is_slow(token, now());
        let grade = if slow { Grade::Failure } else { grade };
        let recovered = match self.settings.ramp_up {
            Duration::ZERO => State::Closed,
            _ => State::RampUp,
        };
        loop {
            let word = self.word();
            if word.generation != token.generation {
                return;
            }
            let next = word.after_probe(grade, &self.settings.half_open, recovered);
            let done = match next.state {
                State::HalfOpen => self.exchange(word, next),
                State::Open => {
                    let reason = if slow { "probe_slow" } else { "probe_failed" };
                    self.enter(word, next, reason, now(), hint())
                }
                _ => self.enter(word, next, "probes_succeeded", now(), None),
            };
            if done {
                if grade == Grade::Ignore {
                    // Its permit is for who waits.
                    self.settings.changed.notify_waiters();
                }
                return;
            }
        }
    }

    /// Opens, unless the generation has ended meanwhile.
    #[cold]
    fn open(&self, generation: u32, reason: &'static str, hint: Option<Duration>, now: u64) {
        loop {
            let word = self.word();
            if word.generation != generation
                || self.enter(word, word.next(State::Open), reason, now, hint)
            {
                return;
            }
        }
    }
}

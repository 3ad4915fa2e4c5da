use std::{sync::atomic::Ordering, time::Duration};

use super::{Breaker, Kind, Token};
use crate::{Open, OpenReason, State, ramp, word::Word};

/// Who is let in.
impl Breaker {
    /// Lets a call in, or says why not; who then refuses the call
    /// [tells](Self::tell_refusal) so. The clock is read only where it decides.
    #[inline]
    pub(crate) fn admit(&self, now: impl Fn() -> u64) -> Result<Token, Open> {
        let word = self.word();
        // The rule, without the clock.
        if word.state == State::Closed {
            return Ok(self.token(word, Kind::Call, now));
        }
        self.admit_with_care(word, now)
    }

    fn admit_with_care(&self, mut word: Word, now: impl Fn() -> u64) -> Result<Token, Open> {
        loop {
            let time = now();
            let (to, is_probe) = match self.decide(word, time) {
                Decision::Admit(kind) => return Ok(self.token(word, kind, || time)),
                Decision::Refuse(reason, retry_after) => {
                    let refusal = Open::new(reason, retry_after);
                    if !word.observed {
                        return Err(refusal);
                    }
                    self.tell_refusal(&refusal, false);
                    return Ok(Token::UNCOUNTED);
                }
                Decision::Probe(to) => {
                    // First, or who comes in between may find it hung.
                    self.prolong(word, time);
                    (to, self.exchange(word, to))
                }
                // Whoever has made the change, it is made.
                Decision::Change(to, reason) => {
                    let changed = self.enter(word, to, reason, time, None);
                    (to, changed && to.state == State::HalfOpen)
                }
                Decision::Again => (word, false),
            };
            if is_probe {
                return Ok(self.token(to, Kind::Probe, || time));
            }
            word = self.word();
        }
    }

    /// What is to be done with a call.
    fn decide(&self, word: Word, now: u64) -> Decision {
        let mark = self.mark();
        if mark.is_later_than(word.generation) {
            // Since the word was read, its state has ended.
            return Decision::Again;
        }
        let known = mark.is_of(word.generation);
        let ended = known && mark.has_ended(now);
        let remaining = known.then(|| mark.remaining(now));
        // While calls are let in, who is not among them asks again long before all are.
        let soon = |most: Duration| Some(remaining.map_or(most, |remaining| remaining.min(most)));
        match word.state {
            State::Closed => Decision::Admit(Kind::Call),
            State::Disabled => Decision::Admit(Kind::Uncounted),
            State::ForcedOpen => Decision::Refuse(OpenReason::Forced, None),
            State::Open if ended => {
                let half_open = word.next(State::HalfOpen);
                let first = half_open.with_probes(half_open.probes().admit());
                Decision::Change(first, "open_time_over")
            }
            State::Open => Decision::Refuse(OpenReason::Tripped, remaining.or(Some(JUST_BEGUN))),
            State::HalfOpen => {
                let probes = word.probes();
                match () {
                    () if ended && 0 < probes.in_flight() => {
                        Decision::Change(word.next(State::Open), "probe_timed_out")
                    }
                    () if ended => {
                        // What came of the calls before stands, or rare calls would never do.
                        let again = word.next(State::HalfOpen).with_probes(probes.admit());
                        Decision::Change(again, "too_few_probes")
                    }
                    () if probes.admitted < self.settings.half_open.permit_count() => {
                        Decision::Probe(word.with_probes(probes.admit()))
                    }
                    () => {
                        let tenth = self.settings.half_open.time_limit() / 10;
                        Decision::Refuse(OpenReason::Probing, soon(tenth))
                    }
                }
            }
            State::RampUp if ended => Decision::Change(word.next(State::Closed), "ramp_up_over"),
            State::RampUp => {
                let whole = self.settings.ramp_up;
                let share = ramp::share(remaining.unwrap_or(whole), whole);
                match ramp::admits(self.ramp.fetch_add(share, Ordering::Relaxed), share) {
                    true => Decision::Admit(Kind::Call),
                    false => {
                        let most = (whole / 10).min(LATEST_IN_RAMP);
                        Decision::Refuse(OpenReason::RampUp, soon(most))
                    }
                }
            }
        }
    }

    /// Why a call would be refused now, if that is certain. Changes nothing.
    #[inline]
    pub(crate) fn refusal(&self, now: impl Fn() -> u64) -> Option<Open> {
        let word = self.word();
        match word.state {
            State::Closed | State::Disabled | State::RampUp => None,
            _ if word.observed => None,
            _ => match self.decide(word, now()) {
                Decision::Refuse(reason, retry_after) => Some(Open::new(reason, retry_after)),
                _ => None,
            },
        }
    }

    /// Why a call is refused that was to be refused a moment ago.
    pub(crate) fn late_refusal(&self, now: impl Fn() -> u64) -> Open {
        let over = || Open::new(OpenReason::Tripped, Some(Duration::ZERO));
        self.refusal(now).unwrap_or_else(over)
    }

    #[inline]
    fn token(&self, word: Word, kind: Kind, now: impl Fn() -> u64) -> Token {
        let started = if self.settings.is_timed() { now() } else { 0 };
        Token { generation: word.generation, kind, started }
    }

    /// The token of a call that begins only now, though it was let in before;
    /// nothing, if what it was let into is over.
    pub(crate) fn begin(&self, token: Token, now: impl Fn() -> u64) -> Option<Token> {
        let word = self.word();
        let current = token.kind == Kind::Uncounted || word.generation == token.generation;
        current.then(|| self.token(Word { generation: token.generation, ..word }, token.kind, now))
    }
}

/// When to ask again a breaker that opens in this very moment, and has not
/// said for how long.
const JUST_BEGUN: Duration = Duration::from_millis(10);

/// When to ask again at the latest while a share of the calls is let in: the
/// next one may be.
const LATEST_IN_RAMP: Duration = Duration::from_secs(1);

/// What is to be done with a call.
#[derive(Clone, Copy, Debug)]
enum Decision {
    Admit(Kind),
    Refuse(OpenReason, Option<Duration>),
    // It is admitted, if the word can be changed to this.
    Probe(Word),
    // The state is over.
    Change(Word, &'static str),
    // Nothing: the word is out of date.
    Again,
}

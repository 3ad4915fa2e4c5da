use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use palisade_core::{Endpoint, ErrorKind, Event, Outcome, Target};
use palisade_settings::Step;

use crate::{
    OnCancel, Open, OpenReason, State,
    mark::Mark,
    ramp,
    settings::{Settings, nanos},
    sync::{AtomicU32, AtomicU64},
    trip::Counts,
    window::Entry,
    word::{Grade, MAX_COUNT, Word},
};

/// The state of one breaker: words that threads share without a lock.
///
/// `control` alone decides, and changes as a whole: who exchanges it has made
/// the change, and then writes the other words, each of which names what it is
/// of or does no harm while it is old.
pub(crate) struct Breaker {
    control: AtomicU64,
    mark: AtomicU64,
    // When the state began, in nanoseconds.
    since: AtomicU64,
    // For how long it opened the last time, in milliseconds.
    opened_for: AtomicU32,
    // How much was admitted of late while ramping up, modulo one call.
    ramp: AtomicU32,
    window: Box<[AtomicU64]>,
    pub(crate) settings: Arc<Settings>,
    // What of its key may be told; there, if somebody is.
    label: Option<Box<Label>>,
}

/// What a breaker tells of its key.
#[derive(Debug)]
struct Label {
    endpoint: Option<&'static Endpoint>,
    authority: Option<Box<str>>,
}

/// What a call that was admitted takes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    generation: u32,
    kind: Kind,
    // When it began, in nanoseconds, if that matters.
    started: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Call,
    Probe,
    // Whatever becomes of it counts nowhere.
    Uncounted,
}

impl Token {
    pub(crate) const UNCOUNTED: Self = Self { generation: 0, kind: Kind::Uncounted, started: 0 };
}

/// What a breaker is asked for, all of one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) word: Word,
    pub(crate) since: Duration,
    pub(crate) remaining: Option<Duration>,
    pub(crate) counts: Counts,
}

/// How an outcome counts: the table of [`Outcome`].
pub(crate) fn grade(outcome: Outcome) -> Grade {
    match outcome {
        Outcome::Success | Outcome::Rejected => Grade::Success,
        Outcome::Throttled => Grade::Soft,
        Outcome::Transient | Outcome::Failed | Outcome::Unsent => Grade::Failure,
        // What core may add one day says nothing yet.
        _ => Grade::Ignore,
    }
}

impl Breaker {
    pub(crate) fn new(settings: Arc<Settings>, target: Target<'_>) -> Self {
        let label = settings.observer.is_some().then(|| {
            let authority = target.authority.map(Box::from);
            Box::new(Label { endpoint: target.endpoint, authority })
        });
        let now = settings.now();
        let word = Word { observed: settings.observe, ..Word::new() };
        Self {
            control: AtomicU64::new(word.pack()),
            mark: AtomicU64::new(Mark::new(0, now).pack()),
            since: AtomicU64::new(now),
            opened_for: AtomicU32::new(0),
            ramp: AtomicU32::new(0),
            window: settings.windows.words(),
            settings,
            label,
        }
    }

    #[inline]
    pub(crate) fn word(&self) -> Word {
        Word::unpack(self.control.load(Ordering::Acquire))
    }

    fn mark(&self) -> Mark {
        Mark::unpack(self.mark.load(Ordering::Acquire))
    }

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
            let refusal = match self.decide(word, now()) {
                Decision::Admit(kind) => return Ok(self.token(word, kind, now)),
                Decision::Refuse(reason, retry_after) => Open::new(reason, retry_after),
                Decision::Probe(to) => {
                    if self.exchange(word, to) {
                        return Ok(self.token(to, Kind::Probe, now));
                    }
                    word = self.word();
                    continue;
                }
                Decision::Change(to, reason) => {
                    // Whoever has made the change, it is made.
                    if self.enter(word, to, reason, now(), None) && to.state == State::HalfOpen {
                        return Ok(self.token(to, Kind::Probe, now));
                    }
                    word = self.word();
                    continue;
                }
            };
            if !word.observed {
                return Err(refusal);
            }
            self.tell_refusal(&refusal, false);
            return Ok(Token::UNCOUNTED);
        }
    }

    /// What is to be done with a call.
    fn decide(&self, word: Word, now: u64) -> Decision {
        let mark = self.mark();
        let known = mark.is_of(word.generation);
        let ended = known && mark.has_ended(now);
        let remaining = known.then(|| mark.remaining(now));
        match word.state {
            State::Closed => Decision::Admit(Kind::Call),
            State::Disabled => Decision::Admit(Kind::Uncounted),
            State::ForcedOpen => Decision::Refuse(OpenReason::Forced, None),
            State::Open if ended => {
                let half_open = word.next(State::HalfOpen);
                let first = half_open.with_probes(half_open.probes().admit());
                Decision::Change(first, "open_time_over")
            }
            State::Open => Decision::Refuse(OpenReason::Tripped, remaining),
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
                    () => Decision::Refuse(OpenReason::Probing, remaining),
                }
            }
            State::RampUp if ended => Decision::Change(word.next(State::Closed), "ramp_up_over"),
            State::RampUp => {
                let whole = self.settings.ramp_up;
                let share = ramp::share(remaining.unwrap_or(whole), whole);
                match ramp::admits(self.ramp.fetch_add(share, Ordering::Relaxed), share) {
                    true => Decision::Admit(Kind::Call),
                    false => Decision::Refuse(OpenReason::RampUp, remaining),
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
        let timed = settings.is_timed() || settings.windows.needs_time();
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
    fn exchange(&self, from: Word, to: Word) -> bool {
        let (from, to) = (from.pack(), to.pack());
        let exchanged =
            self.control.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
        exchanged.is_ok()
    }

    /// Begins another state, unless the word has changed meanwhile.
    #[cold]
    fn enter(
        &self,
        from: Word,
        to: Word,
        reason: &'static str,
        now: u64,
        hint: Option<Duration>,
    ) -> bool {
        // May run a schedule of the user, so before anything has changed.
        let (mark, lasts) = self.mark_for(to.state, now, hint);
        if !self.exchange(from, to) {
            return false;
        }
        self.publish(mark.of(to.generation));
        self.since.fetch_max(now, Ordering::Relaxed);
        match to.state {
            State::Open => {
                let millis = u32::try_from(lasts.as_millis()).unwrap_or(u32::MAX);
                self.opened_for.store(millis, Ordering::Relaxed);
            }
            // So that the first call is admitted.
            State::RampUp => self.ramp.store(u32::MAX, Ordering::Relaxed),
            _ => {}
        }
        self.settings.changed.notify_waiters();
        if let Some(observer) = &self.settings.observer {
            let (from, generation) = (from.state.as_str(), to.generation);
            let event = Event::Breaker { from, to: to.state.as_str(), reason, generation };
            observer.on_event(self.target(), &event);
        }
        true
    }

    /// When a state ends that begins now, and how long it lasts.
    fn mark_for(&self, state: State, now: u64, hint: Option<Duration>) -> (Mark, Duration) {
        let streak = self.mark().streak;
        let (streak, lasts) = match state {
            State::Open => {
                let streak = streak.saturating_add(1);
                let previous = self.opened_for.load(Ordering::Relaxed);
                let previous = Duration::from_millis(previous.into());
                let random = self.settings.random.unit();
                let step = Step::new(streak.into(), previous, random);
                let asked = hint.unwrap_or_default().min(self.settings.longest_hint);
                (streak, self.settings.open_for.delay(&step).max(asked))
            }
            State::HalfOpen => (streak, self.settings.half_open.time_limit()),
            State::RampUp => (streak, self.settings.ramp_up),
            State::Closed | State::ForcedOpen | State::Disabled => (0, Duration::ZERO),
        };
        (Mark::new(streak, now.saturating_add(nanos(lasts))), lasts)
    }

    /// Writes the mark of a state, unless a later one stands there already.
    fn publish(&self, mark: Mark) {
        let later = |word| mark.is_after(Mark::unpack(word)).then(|| mark.pack());
        let _ = self.mark.fetch_update(Ordering::AcqRel, Ordering::Acquire, later);
    }

    pub(crate) fn tell_refusal(&self, refusal: &Open, enforced: bool) {
        let Some(observer) = &self.settings.observer else {
            return;
        };
        let (reason, retry_after) = (refusal.reason().as_str(), refusal.retry_after());
        let event = Event::Refused { kind: ErrorKind::Open, reason, retry_after, enforced };
        observer.on_event(self.target(), &event);
    }

    fn target(&self) -> Target<'_> {
        match &self.label {
            Some(label) => Target::new(label.endpoint, None, label.authority.as_deref()),
            None => Target::default(),
        }
    }

    /// Whether there is something in it that must not be forgotten.
    pub(crate) fn is_pinned(&self, now: u64) -> bool {
        let word = self.word();
        let mark = self.mark();
        match word.state {
            _ if word.observed != self.settings.observe => true,
            State::Closed => false,
            State::ForcedOpen | State::Disabled => true,
            // A state that nobody has come to end is as good as forgotten.
            _ => !(mark.is_of(word.generation) && mark.has_ended(now)),
        }
    }

    pub(crate) fn view(&self, now: u64) -> View {
        let word = self.word();
        let mark = self.mark();
        let ends = matches!(word.state, State::Open | State::HalfOpen | State::RampUp);
        let since = now.saturating_sub(self.since.load(Ordering::Relaxed));
        View {
            word,
            since: Duration::from_nanos(since),
            remaining: (ends && mark.is_of(word.generation)).then(|| mark.remaining(now)),
            counts: self.settings.windows.counts(&self.window, word.generation, now),
        }
    }
}

/// What is to be done with a call.
#[derive(Clone, Copy, Debug)]
enum Decision {
    Admit(Kind),
    Refuse(OpenReason, Option<Duration>),
    // It is admitted, if the word can be changed to this.
    Probe(Word),
    // The state is over.
    Change(Word, &'static str),
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("word", &self.word()).finish_non_exhaustive()
    }
}

#[cfg(all(test, palisade_loom))]
mod models;
#[cfg(test)]
mod reference;

#[cfg(all(test, not(any(palisade_loom, palisade_shuttle))))]
mod tests {
    use allocation_counter::measure;

    use super::*;
    use crate::{Trip, Window};

    #[test]
    fn a_breaker_is_small() {
        let row = Trip::consecutive(5);
        let rate = |window| row.or(Trip::failure_rate(0.5).window(window));
        for (trip, most) in [
            (row, 80),
            (rate(Window::count(100)), 128),
            (rate(Window::time(Duration::from_secs(10)).buckets(10)), 256),
        ] {
            let settings = Arc::new(Settings::new(trip));
            let mut made = None;
            let memory = measure(|| {
                made = Some(Arc::new(Breaker::new(settings, Target::default())));
            });
            assert!(memory.bytes_current <= most, "{} bytes for {trip:?}", memory.bytes_current);
        }
    }
}

mod admit;
mod change;
#[cfg(all(test, any(palisade_loom, palisade_shuttle)))]
mod models;
mod record;
#[cfg(test)]
mod reference;

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use palisade_core::{Endpoint, ErrorKind, Event, Outcome, Target};

use crate::{
    Open, State,
    mark::Mark,
    settings::Settings,
    sync::{AtomicU32, AtomicU64},
    trip::Counts,
    word::{Grade, Word},
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

    /// Whether it counts what becomes of the call.
    #[inline]
    pub(crate) fn counts(self) -> bool {
        self.kind != Kind::Uncounted
    }
}

/// What a breaker is asked for.
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
        let label = settings.observer.get().is_some().then(|| {
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

    pub(crate) fn tell_refusal(&self, refusal: &Open, enforced: bool) {
        let Some(observer) = self.settings.observer.get() else {
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

    /// How long until the state ends, if it ends by itself.
    pub(crate) fn remaining(&self, word: Word, now: u64) -> Option<Duration> {
        let mark = self.mark();
        let ends = matches!(word.state, State::Open | State::HalfOpen | State::RampUp);
        (ends && mark.is_of(word.generation)).then(|| mark.remaining(now))
    }

    pub(crate) fn view(&self, now: u64) -> View {
        let word = self.word();
        let since = now.saturating_sub(self.since.load(Ordering::Relaxed));
        View {
            word,
            since: Duration::from_nanos(since),
            remaining: self.remaining(word, now),
            counts: self.settings.windows.counts(&self.window, word.generation, now),
        }
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("word", &self.word()).finish_non_exhaustive()
    }
}

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

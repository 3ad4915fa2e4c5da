mod count;
mod time;

use std::time::Duration;

use palisade_settings::{InvalidSetting, literal};

use self::{count::CountWindow, time::TimeWindow};
use crate::{sync::AtomicU64, trip::Counts};

/// Which calls a rate is taken over.
///
/// ```
/// use std::time::Duration;
/// use palisade_circuit_breaker::Window;
///
/// let last_hundred = Window::count(100);
/// let last_minute = Window::time(Duration::from_secs(60)).buckets(12);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Window {
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Count { size: u32 },
    Time { length: Duration, buckets: u32 },
}

const MAX_SIZE: u32 = 1 << 16;
const BUCKETS: u32 = 10;
const MAX_BUCKETS: u32 = 1000;
const LEAST_WIDTH: Duration = Duration::from_millis(1);

impl Window {
    /// The last so many calls. Needs no clock; a bit of memory a call, two
    /// where slow calls count.
    ///
    /// # Panics
    ///
    /// If it is not from 1 to 65,536.
    #[track_caller]
    pub fn count(calls: u32) -> Self {
        literal(Self::try_count(calls))
    }

    /// As [`count`](Self::count), for a value from outside.
    ///
    /// # Errors
    ///
    /// If it is not from 1 to 65,536.
    pub fn try_count(calls: u32) -> Result<Self, InvalidSetting> {
        match calls {
            1..=MAX_SIZE => Ok(Self { kind: Kind::Count { size: calls } }),
            _ => Err(InvalidSetting::new(
                "a window of calls holds from 1 to 65536: take `Window::time` for more",
            )),
        }
    }

    /// The calls that ended in the last so long.
    ///
    /// It is kept in [`buckets`](Self::buckets), 10 by default: so what leaves
    /// it leaves by the tenth. A bucket counts up to a million calls; beyond
    /// that it halves its counts, and keeps their rates.
    ///
    /// # Panics
    ///
    /// If it is shorter than a millisecond.
    #[track_caller]
    pub fn time(length: Duration) -> Self {
        literal(Self::try_time(length))
    }

    /// As [`time`](Self::time), for a value from outside.
    ///
    /// # Errors
    ///
    /// If it is shorter than a millisecond.
    pub fn try_time(length: Duration) -> Result<Self, InvalidSetting> {
        let fit = length.as_millis().clamp(1, BUCKETS.into()) as u32;
        Self { kind: Kind::Time { length, buckets: fit } }.checked()
    }

    /// Sets into how many buckets a window of time is divided. Defaults to 10,
    /// though not shorter than a millisecond each. Means nothing to a window of
    /// calls.
    ///
    /// # Panics
    ///
    /// If it is not from 1 to 1000, or a bucket is shorter than a millisecond.
    #[track_caller]
    pub fn buckets(self, buckets: u32) -> Self {
        literal(self.try_buckets(buckets))
    }

    /// As [`buckets`](Self::buckets), for a value from outside.
    ///
    /// # Errors
    ///
    /// If it is not from 1 to 1000, or a bucket is shorter than a millisecond.
    pub fn try_buckets(self, buckets: u32) -> Result<Self, InvalidSetting> {
        match self.kind {
            Kind::Count { .. } => Ok(self),
            Kind::Time { length, .. } => Self { kind: Kind::Time { length, buckets } }.checked(),
        }
    }

    fn checked(self) -> Result<Self, InvalidSetting> {
        match self.kind {
            Kind::Time { buckets, .. } if !(1..=MAX_BUCKETS).contains(&buckets) => {
                Err(InvalidSetting::new("a window of time has from 1 to 1000 buckets: write 10"))
            }
            Kind::Time { length, buckets } if length / buckets < LEAST_WIDTH => {
                Err(InvalidSetting::new(
                    "a bucket lasts at least a millisecond: widen the window, or take fewer buckets",
                ))
            }
            _ => Ok(self),
        }
    }

    /// How many calls it holds at most, if that is bounded.
    pub(crate) fn most_calls(&self) -> Option<u32> {
        match self.kind {
            Kind::Count { size } => Some(size),
            Kind::Time { .. } => None,
        }
    }
}

/// The last 10 seconds, in 10 buckets.
impl Default for Window {
    fn default() -> Self {
        Self::time(Duration::from_secs(10))
    }
}

/// What one call adds to a window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// Of which state of the breaker it is; a window holds those of one.
    pub(crate) generation: u32,
    pub(crate) failed: bool,
    pub(crate) slow: bool,
}

/// The windows of all breakers of a layer: what is the same for each. What
/// differs is in `words`, which each breaker has for itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Windows {
    None,
    Count(CountWindow),
    Time(TimeWindow),
}

impl Windows {
    pub(crate) fn new(window: Option<Window>, counts_slow: bool) -> Self {
        match window.map(|window| window.kind) {
            None => Self::None,
            Some(Kind::Count { size }) => Self::Count(CountWindow::new(size, counts_slow)),
            Some(Kind::Time { length, buckets }) => {
                Self::Time(TimeWindow::new(length / buckets, buckets, counts_slow))
            }
        }
    }

    /// The words of one breaker's window, without a call in it.
    pub(crate) fn words(&self) -> Box<[AtomicU64]> {
        let words = match self {
            Self::None => 0,
            Self::Count(window) => window.words(),
            Self::Time(window) => window.words(),
        };
        (0..words).map(|_| AtomicU64::new(0)).collect()
    }

    #[inline]
    pub(crate) fn needs_time(&self) -> bool {
        matches!(self, Self::Time(_))
    }

    /// Adds a call, unless `current` says that its generation is over.
    #[inline]
    pub(crate) fn add(
        &self,
        words: &[AtomicU64],
        entry: Entry,
        now: u64,
        current: impl Fn() -> bool,
    ) {
        match self {
            Self::None => {}
            Self::Count(window) => window.add(words, entry, current),
            Self::Time(window) => window.add(words, entry, now, current),
        }
    }

    /// What there is of this generation.
    pub(crate) fn counts(&self, words: &[AtomicU64], generation: u32, now: u64) -> Counts {
        match self {
            Self::None => Counts::default(),
            Self::Count(window) => window.counts(words, generation),
            Self::Time(window) => window.counts(words, generation, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(Window::try_count(0).is_err());
        assert!(Window::try_count(MAX_SIZE + 1).is_err());
        assert!(Window::try_time(Duration::ZERO).is_err());
        assert!(Window::try_time(Duration::from_micros(999)).is_err());
        let second = Window::time(Duration::from_secs(1));
        assert!(second.try_buckets(0).is_err());
        assert!(second.try_buckets(MAX_BUCKETS + 1).is_err());
        assert!(Window::time(Duration::from_millis(5)).try_buckets(6).is_err());
    }

    #[test]
    fn a_short_window_has_fewer_buckets() {
        let window = |millis| Window::time(Duration::from_millis(millis));
        assert_eq!(window(5), window(5).buckets(5));
        assert_eq!(window(1), window(1).buckets(1));
        assert_eq!(window(11), window(11).buckets(10));
    }
}

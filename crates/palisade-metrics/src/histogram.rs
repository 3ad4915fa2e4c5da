mod layout;
mod times;

use std::{
    array, fmt,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub(crate) use self::layout::BOUNDS;
use self::layout::{OCTAVES, Place, SLOTS};
pub use self::times::Times;
use crate::stripes::{self, mine};

/// Durations by their logarithm, counted by each thread for itself: what a
/// registry times requests with, for what else there is to time.
///
/// One count says all: that it is a duration, and which. So the number of
/// durations and their quantiles never disagree. Memory comes as durations do:
/// 272 bytes for each power of two, and thread.
///
/// ```
/// use std::time::Duration;
/// use palisade_metrics::Histogram;
///
/// let lookups = Histogram::new();
/// lookups.record(Duration::from_micros(30));
/// lookups.record(Duration::from_micros(90));
/// assert_eq!(lookups.times().max(), Some(Duration::from_micros(90)));
/// ```
pub struct Histogram {
    // Made by the first thread that comes there.
    stripes: Box<[OnceLock<Box<Stripe>>]>,
}

// Two lines each: processors fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Stripe {
    sum: AtomicU64,
    min: AtomicU64,
    max: AtomicU64,
    // Most durations of a series lie within a few octaves.
    octaves: [OnceLock<Box<[AtomicU64; SLOTS]>>; OCTAVES],
}

impl Histogram {
    /// A histogram of no durations.
    #[must_use]
    pub fn new() -> Self {
        Self { stripes: (0..stripes::count()).map(|_| OnceLock::new()).collect() }
    }

    /// Counts a duration.
    #[inline]
    pub fn record(&self, time: Duration) {
        self.record_nanos(nanos(time));
    }

    #[inline]
    pub(crate) fn record_nanos(&self, nanos: u64) {
        let stripe = mine(&self.stripes).get_or_init(Box::default);
        let Place { octave, slot } = Place::of(nanos);
        let octave =
            stripe.octaves[octave].get_or_init(|| Box::new(array::from_fn(|_| AtomicU64::new(0))));
        octave[slot].fetch_add(1, Ordering::Relaxed);
        stripe.sum.fetch_add(nanos, Ordering::Relaxed);
        if nanos < stripe.min.load(Ordering::Relaxed) {
            stripe.min.fetch_min(nanos, Ordering::Relaxed);
        }
        if stripe.max.load(Ordering::Relaxed) < nanos {
            stripe.max.fetch_max(nanos, Ordering::Relaxed);
        }
    }

    /// What was counted so far. Not of one moment, if others go on counting.
    pub fn times(&self) -> Times {
        let mut times = Times::default();
        for stripe in self.stripes.iter().filter_map(OnceLock::get) {
            let load = |word: &AtomicU64| word.load(Ordering::Relaxed);
            times.add_range(load(&stripe.sum), load(&stripe.min), load(&stripe.max));
            for (octave, slots) in stripe.octaves.iter().enumerate() {
                for (slot, count) in
                    slots.get().into_iter().flat_map(|slots| slots.iter()).enumerate()
                {
                    times.add(Place { octave, slot }, load(count));
                }
            }
        }
        times
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram").finish_non_exhaustive()
    }
}

/// A duration in nanoseconds: at most 584 years.
pub(crate) fn nanos(time: Duration) -> u64 {
    // Faster than by way of 128 bits.
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(time.subsec_nanos().into())
}

impl Default for Stripe {
    fn default() -> Self {
        Self {
            sum: AtomicU64::new(0),
            min: AtomicU64::new(u64::MAX),
            max: AtomicU64::new(0),
            octaves: array::from_fn(|_| OnceLock::new()),
        }
    }
}

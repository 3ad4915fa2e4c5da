use std::{fmt, sync::Arc, time::Duration};

use palisade_core::{Now, ObserverSlot};
use palisade_settings::{Backoff, Jitter, Random, Schedule};
use tokio::{sync::Notify, time::Instant};

use crate::{HalfOpen, Trip, window::Windows};

/// What counts when a call is dropped before it has ended, as by a timeout
/// further out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnCancel {
    /// Nothing: the caller went away.
    #[default]
    Ignore,
    /// A failure, if the call had taken so long. Less says nothing about the
    /// service.
    FailureAfter(Duration),
}

/// What the breakers of a layer have in common.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) trip: Trip,
    pub(crate) windows: Windows,
    // A trait object, against rule 8: asked when a breaker opens, and not worth
    // a parameter on every handle.
    pub(crate) open_for: Arc<dyn Schedule + Send + Sync>,
    pub(crate) longest_hint: Duration,
    pub(crate) half_open: HalfOpen,
    pub(crate) ramp_up: Duration,
    pub(crate) on_cancel: OnCancel,
    pub(crate) observe: bool,
    pub(crate) observer: ObserverSlot,
    pub(crate) random: Arc<Random>,
    /// Woken whenever a call may be admitted that was refused before.
    pub(crate) changed: Arc<Notify>,
    pub(crate) start: Instant,
}

impl Settings {
    pub(crate) fn new(trip: Trip) -> Self {
        let open_for = Backoff::exponential(Duration::from_secs(5))
            .max(Duration::from_secs(60))
            .jitter(Jitter::Equal);
        Self {
            trip,
            windows: windows_of(&trip),
            open_for: Arc::new(open_for),
            longest_hint: Duration::from_secs(60),
            half_open: HalfOpen::default(),
            ramp_up: Duration::ZERO,
            on_cancel: OnCancel::Ignore,
            observe: false,
            observer: ObserverSlot::default(),
            random: Arc::new(Random::from_entropy()),
            changed: Arc::default(),
            start: Instant::now(),
        }
    }

    pub(crate) fn trip(&mut self, trip: Trip) {
        self.trip = trip;
        self.windows = windows_of(&trip);
    }

    /// Nanoseconds since the start; no less than zero, whatever the clock says.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        nanos(Now::by(Instant::now).saturating_duration_since(self.start))
    }

    /// Whether it matters how long a call takes.
    #[inline]
    pub(crate) fn is_timed(&self) -> bool {
        self.trip.slow_after().is_some() || self.on_cancel != OnCancel::Ignore
    }
}

fn windows_of(trip: &Trip) -> Windows {
    Windows::new(trip.rate_window(), trip.slow_after().is_some())
}

/// A duration in nanoseconds: at most 584 years.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("trip", &self.trip)
            .field("half_open", &self.half_open)
            .field("ramp_up", &self.ramp_up)
            .field("on_cancel", &self.on_cancel)
            .field("longest_hint", &self.longest_hint)
            .field("observe", &self.observe)
            .finish_non_exhaustive()
    }
}

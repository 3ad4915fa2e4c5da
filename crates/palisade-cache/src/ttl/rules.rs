use std::{sync::Arc, time::Duration};

use palisade_core::{Event, ObserverSlot, Target};
use palisade_settings::Random;
use tokio::time::Instant;

use super::{
    Ttl,
    freshness::{Age, Freshness, Windows},
    shared::{Counts, Shared, count},
    store::{Bounds, Entry},
};

/// What the services of a layer share.
//
// Calls count their pointers to it, and read it: not from the cache line of that count.
#[repr(align(128))]
pub(crate) struct Rules<K, V, C, P> {
    pub(crate) policy: P,
    pub(crate) shared: Arc<Shared<K, V, C>>,
    pub(crate) settings: Settings,
}

impl<K, V, C, P: Clone> Clone for Rules<K, V, C, P> {
    fn clone(&self) -> Self {
        let shared = Arc::clone(&self.shared);
        Self { policy: self.policy.clone(), shared, settings: self.settings.clone() }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) windows: Windows,
    pub(crate) bounds: Bounds,
    pub(crate) single_flight: bool,
    pub(crate) observer: ObserverSlot,
    pub(crate) random: Arc<Random>,
}

impl Settings {
    #[inline]
    pub(crate) fn age<V>(&self, entry: &Entry<V>) -> Age {
        self.windows.age(&entry.freshness, Instant::now, || self.random.unit())
    }

    /// As what to give the answer without a call, if it may be.
    pub(crate) fn as_it_is<V>(&self, entry: &Entry<V>) -> Option<Status> {
        match self.age(entry) {
            Age::Fresh | Age::Due => Some(Status::Hit),
            Age::Stale | Age::Expired => {
                let now = Instant::now();
                let stands_in = self.windows.stands_in(&entry.freshness, now);
                (stands_in && entry.pause().excuses(now)).then_some(Status::Stale)
            }
        }
    }

    pub(crate) fn begin(&self, ttl: Ttl, now: Instant, took: Duration) -> Option<Freshness> {
        self.windows.begin(ttl, now, took, || self.random.unit())
    }

    /// The time, if how long a call takes is of interest.
    pub(crate) fn since(&self) -> Option<Instant> {
        (0.0 < self.windows.early).then(Instant::now)
    }

    #[inline]
    pub(crate) fn tell(&self, counts: &Counts, status: Status) {
        count(status.counter(counts));
        if let Some(observer) = self.observer.get() {
            observer.on_event(Target::default(), &Event::Cache { status: status.name() });
        }
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Answered by what was kept.
    Hit,
    /// Answered by what was kept, past its time.
    Stale,
    /// The inner service was called.
    Miss,
    /// Answered by a call that another one had begun.
    Collapsed,
    /// The inner service was called for what was kept, but old.
    Refreshed,
    /// That, in vain.
    RefreshFailed,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
            Self::Refreshed => "refreshed",
            Self::RefreshFailed => "refresh_failed",
        }
    }

    fn counter(self, counts: &Counts) -> &std::sync::atomic::AtomicU64 {
        match self {
            Self::Hit => &counts.hits,
            Self::Stale => &counts.stale,
            Self::Miss => &counts.misses,
            Self::Collapsed => &counts.collapsed,
            Self::Refreshed => &counts.refreshed,
            Self::RefreshFailed => &counts.unrefreshed,
        }
    }
}

use palisade_core::Now;
use tokio::time::Instant;

use crate::histogram::nanos;

/// What requests are timed by.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    /// The system's, from this moment on. It stands still where tokio's time is
    /// paused.
    System(Instant),
    #[cfg(feature = "quanta")]
    Processor(quanta::Clock),
}

impl Clock {
    pub(crate) fn system() -> Self {
        Self::System(Instant::now())
    }

    /// What the clock says: only itself knows what that means.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        match self {
            Self::System(start) => nanos(Now::by(Instant::now).saturating_duration_since(*start)),
            #[cfg(feature = "quanta")]
            Self::Processor(clock) => clock.raw(),
        }
    }

    /// How many nanoseconds ago it said that; none, if it went back.
    #[inline]
    pub(crate) fn since(&self, start: u64) -> u64 {
        match self {
            Self::System(_) => self.now().saturating_sub(start),
            #[cfg(feature = "quanta")]
            Self::Processor(clock) => clock.delta_as_nanos(start, clock.raw()),
        }
    }
}

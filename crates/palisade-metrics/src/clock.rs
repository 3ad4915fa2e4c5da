use tokio::time::Instant;

use crate::histogram::nanos;

/// What requests are timed by.
#[derive(Clone, Debug, Default)]
pub(crate) enum Clock {
    /// The system's, which stands still where tokio's time is paused.
    #[default]
    System,
    #[cfg(feature = "quanta")]
    Processor(quanta::Clock),
}

/// When something began.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment {
    System(Instant),
    #[cfg(feature = "quanta")]
    Processor(u64),
}

impl Clock {
    #[inline]
    pub(crate) fn now(&self) -> Moment {
        match self {
            Self::System => Moment::System(Instant::now()),
            #[cfg(feature = "quanta")]
            Self::Processor(clock) => Moment::Processor(clock.raw()),
        }
    }

    /// How many nanoseconds ago that was; none, if the clock went back.
    #[inline]
    pub(crate) fn since(&self, start: Moment) -> u64 {
        match (self, start) {
            #[cfg(feature = "quanta")]
            (Self::Processor(clock), Moment::Processor(start)) => {
                clock.delta_as_nanos(start, clock.raw())
            }
            (_, Moment::System(start)) => nanos(Instant::now().saturating_duration_since(start)),
            // No clock reads the moment of another.
            #[cfg(feature = "quanta")]
            (Self::System, Moment::Processor(_)) => 0,
        }
    }
}

use std::time::{Duration, SystemTime};

use super::{Clock, Moment};

/// The clocks of the operating system, read as cheaply as can be. The default.
///
/// On Linux they show the time of the last tick, up to ten milliseconds ago.
///
/// STYLE.md, rule 18, has tokio's clock for what passes. That is neither cheap
/// enough for every request, nor does it run while a machine sleeps; a token
/// expires all the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct CoarseClock;

impl Clock for CoarseClock {
    #[inline]
    fn now(&self) -> Moment {
        system::now()
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use rustix::time::{ClockId, Timespec, clock_gettime};

    use super::{Duration, Moment, SystemTime};

    #[inline]
    pub(super) fn now() -> Moment {
        let wall = SystemTime::UNIX_EPOCH + duration(clock_gettime(ClockId::RealtimeCoarse));
        Moment::new(wall, duration(clock_gettime(ClockId::MonotonicCoarse)))
    }

    /// Zero for what was before 1970.
    #[inline]
    fn duration(time: Timespec) -> Duration {
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[expect(clippy::disallowed_methods, reason = "it is the clock that others are handed")]
mod system {
    use std::{sync::LazyLock, time::Instant};

    use super::{Moment, SystemTime};

    pub(super) fn now() -> Moment {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        Moment::new(SystemTime::now(), Instant::now().saturating_duration_since(*START))
    }
}

#[cfg(test)]
mod tests {
    use palisade_core::{SystemClock, WallClock};

    use super::*;

    #[test]
    fn shows_the_time_of_day() {
        let (now, wall) = (CoarseClock.now().wall(), SystemClock.now());
        let off = wall.duration_since(now).unwrap_or_else(|ahead| ahead.duration());
        assert!(off < Duration::from_secs(1), "{off:?}");
    }

    #[test]
    fn runs_forwards() {
        let earlier = CoarseClock.now();
        let later = CoarseClock.now();
        assert!(earlier.steady() <= later.steady());
        assert!(later.since(earlier) < Duration::from_secs(60));
    }
}

use std::time::Duration;

use tokio::time::Instant;

use crate::bucket::nanos;

/// Time as limits count it: nanoseconds since the clock was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    #[inline]
    pub(crate) fn now(self) -> u64 {
        self.time(Instant::now())
    }

    /// A moment as such a time.
    #[inline]
    pub(crate) fn time(self, at: Instant) -> u64 {
        nanos(at.saturating_duration_since(self.start))
    }

    /// The moment of such a time.
    pub(crate) fn instant(self, at: u64) -> Instant {
        // Who waits for that long does not mind whether it is a century less.
        let far = Duration::from_secs(86_400 * 365 * 30);
        self.start + Duration::from_nanos(at).min(far)
    }
}

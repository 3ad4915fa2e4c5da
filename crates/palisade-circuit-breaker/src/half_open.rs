use std::time::Duration;

use palisade_settings::{InvalidSetting, literal};

/// How a breaker finds out whether the service works again.
///
/// Half-open, it admits as many calls as there are permits. It closes when so
/// many of them have succeeded that the ratio is reached whatever becomes of
/// the others, and opens again when it can no longer be reached.
///
/// ```
/// use std::time::Duration;
/// use palisade_circuit_breaker::{CircuitBreakerLayer, HalfOpen, Trip};
///
/// let probing = HalfOpen::permits(5).success_ratio(0.6).timeout(Duration::from_secs(3));
/// let layer = CircuitBreakerLayer::new(Trip::consecutive(5)).half_open(probing);
/// # let _ = layer;
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct HalfOpen {
    permits: u32,
    ratio: f64,
    timeout: Duration,
}

const MAX_PERMITS: u32 = 1000;

impl HalfOpen {
    /// Admits this many calls.
    ///
    /// # Panics
    ///
    /// If it is not from 1 to 1000.
    #[track_caller]
    pub fn permits(permits: u32) -> Self {
        literal(Self::try_permits(permits))
    }

    /// As [`permits`](Self::permits), for a value from outside.
    ///
    /// # Errors
    ///
    /// If it is not from 1 to 1000.
    pub fn try_permits(permits: u32) -> Result<Self, InvalidSetting> {
        match permits {
            1..=MAX_PERMITS => Ok(Self { permits, ratio: 1.0, timeout: Duration::from_secs(10) }),
            _ => Err(InvalidSetting::new(
                "a half-open breaker admits from 1 to 1000 calls: without any it never closes again",
            )),
        }
    }

    /// Sets which share of the permits has to succeed, though always one.
    /// Defaults to 1.0, all of them.
    ///
    /// # Panics
    ///
    /// If it is not from 0 to 1.
    #[track_caller]
    pub fn success_ratio(self, ratio: f64) -> Self {
        literal(self.try_success_ratio(ratio))
    }

    /// As [`success_ratio`](Self::success_ratio), for a value from outside.
    ///
    /// # Errors
    ///
    /// If it is not from 0 to 1.
    pub fn try_success_ratio(self, ratio: f64) -> Result<Self, InvalidSetting> {
        match (0.0..=1.0).contains(&ratio) {
            true => Ok(Self { ratio, ..self }),
            false => Err(InvalidSetting::new(
                "a success ratio must be from 0 to 1: write 0.6 for three successes in five calls",
            )),
        }
    }

    /// Sets how long to wait for the calls that were admitted, from when the
    /// last one was. Defaults to 10 seconds.
    ///
    /// If one has not ended by then, it counts as failed, and the breaker opens
    /// again; if all have ended, but too few came to decide, the breaker stays
    /// half-open for as long again. Either happens with the next call.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn timeout(self, timeout: Duration) -> Self {
        literal(self.try_timeout(timeout))
    }

    /// As [`timeout`](Self::timeout), for a value from outside.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn try_timeout(self, timeout: Duration) -> Result<Self, InvalidSetting> {
        match timeout {
            Duration::ZERO => Err(InvalidSetting::new(
                "half-open calls need time to end: write how long a slow call may take",
            )),
            timeout => Ok(Self { timeout, ..self }),
        }
    }

    pub(crate) fn permit_count(&self) -> u32 {
        self.permits
    }

    pub(crate) fn time_limit(&self) -> Duration {
        self.timeout
    }

    /// Whether the service has recovered, as soon as that is certain.
    pub(crate) fn verdict(&self, succeeded: u32, failed: u32) -> Option<bool> {
        // A ratio such as 0.6 is a little off, and five times it must still be three.
        let needed = (self.ratio * f64::from(self.permits) - 1e-9).ceil().max(1.0) as u32;
        match () {
            () if needed <= succeeded => Some(true),
            () if self.permits - needed < failed => Some(false),
            () => None,
        }
    }
}

/// 3 permits, all of which must succeed, within 10 seconds.
impl Default for HalfOpen {
    fn default() -> Self {
        Self::permits(3)
    }
}

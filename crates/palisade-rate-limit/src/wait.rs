use std::time::Duration;

/// Whether requests wait for a limit that is reached, and how.
///
/// ```
/// use std::time::Duration;
/// use palisade_rate_limit::Wait;
///
/// let patient = Wait::up_to(Duration::from_secs(10)).max_waiting(100);
/// # let _ = patient;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Wait {
    // Zero for nobody.
    longest: Duration,
    most: usize,
}

impl Wait {
    /// Nobody waits: a request without tokens is refused.
    pub const fn reject() -> Self {
        Self { longest: Duration::ZERO, most: 0 }
    }

    /// Requests wait for so long at most. One that would have to wait for longer
    /// is refused at once.
    pub const fn up_to(longest: Duration) -> Self {
        Self { longest, most: 1000 }
    }

    /// Requests wait for as long as it takes.
    pub const fn forever() -> Self {
        Self::up_to(Duration::MAX)
    }

    /// Sets how many may wait at once; what comes then is refused. Defaults to
    /// 1000.
    pub const fn max_waiting(mut self, requests: usize) -> Self {
        self.most = requests;
        self
    }

    pub(crate) fn longest(self) -> Duration {
        self.longest
    }

    pub(crate) fn most(self) -> usize {
        self.most
    }
}

/// Up to 30 seconds.
impl Default for Wait {
    fn default() -> Self {
        Self::up_to(Duration::from_secs(30))
    }
}

use std::{error::Error, fmt, time::Duration};

use palisade_core::ErrorKind;

/// An attempt took longer than
/// [`attempt_timeout`](crate::RetryLayer::attempt_timeout) allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptTimedOut {
    limit: Duration,
}

impl AttemptTimedOut {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit }
    }

    /// How long the attempt was given.
    pub fn limit(&self) -> Duration {
        self.limit
    }
}

impl fmt::Display for AttemptTimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attempt took longer than {:?}", self.limit)
    }
}

impl Error for AttemptTimedOut {
    // What every layer reads as a timeout, without knowing this crate.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&ErrorKind::Timeout)
    }
}

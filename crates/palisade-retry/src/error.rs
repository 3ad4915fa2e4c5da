use std::{error::Error, fmt, time::Duration};

use palisade_core::ErrorKind;

/// A setting that makes no sense.
///
/// What `try_` constructors return for values that come from outside, and what
/// their twins panic with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSetting {
    advice: &'static str,
}

impl InvalidSetting {
    pub(crate) fn new(advice: &'static str) -> Self {
        Self { advice }
    }
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.advice)
    }
}

impl Error for InvalidSetting {}

/// Takes a setting that stands in the program's text.
#[track_caller]
pub(crate) fn literal<T>(setting: Result<T, InvalidSetting>) -> T {
    match setting {
        Ok(setting) => setting,
        Err(invalid) => panic!("{invalid}"),
    }
}

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

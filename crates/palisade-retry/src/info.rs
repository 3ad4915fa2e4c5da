use std::{fmt, time::Duration};

use palisade_settings::{InvalidSetting, literal};

use crate::{Repeatable, rules::check_attempts, rules::check_deadline};

/// What was done for a response, in its extensions.
///
/// It is there when the request was sent more than once, or could have been and
/// the response asks for it, or when it had to wait for a layer on this side. For
/// errors, an observer is told the same.
///
/// ```
/// use palisade_retry::RetryInfo;
///
/// fn report(response: &http::Response<()>) {
///     if let Some(info) = response.extensions().get::<RetryInfo>() {
///         println!("sent {} times, stopped by {:?}", info.attempts(), info.stop());
///     }
/// }
/// # report(&http::Response::new(()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryInfo {
    pub(crate) attempts: u32,
    pub(crate) delay: Duration,
    pub(crate) stop: Option<Stop>,
}

impl RetryInfo {
    /// How many times the request was sent: those not counted that a layer on this
    /// side refused.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How long was waited for further attempts, in sum.
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// Why there was no further attempt; `None`, if none was called for.
    pub fn stop(&self) -> Option<Stop> {
        self.stop
    }
}

/// Why a failure that can be retried was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stop {
    /// The attempts are used up.
    Attempts,
    /// The next attempt would start past the deadline.
    Deadline,
    /// The server, or a layer on this side that refused, asks to wait longer
    /// than is allowed; or layers on this side have done so in sum.
    Hint,
    /// The server asks not to retry.
    Pushback,
    /// The budget is spent.
    Budget,
    /// The request may have been processed, and is not idempotent.
    NotIdempotent,
    /// The request's body is larger than what is kept of it.
    BodyTooLarge,
    /// The request's body could not be read.
    BodyFailed,
    /// The response came before the request's body was sent.
    BodyUnsent,
    /// A layer on this side refused, and does not say until when.
    Refused,
    /// The service was not ready for the next attempt.
    NotReady,
}

impl Stop {
    /// The reason in snake case, as used for labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attempts => "attempts",
            Self::Deadline => "deadline",
            Self::Hint => "hint",
            Self::Pushback => "pushback",
            Self::Budget => "budget",
            Self::NotIdempotent => "not_idempotent",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyFailed => "body_failed",
            Self::BodyUnsent => "body_unsent",
            Self::Refused => "refused",
            Self::NotReady => "not_ready",
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Other limits for one request, in its extensions.
///
/// They count for each retry layer that the request goes through.
///
/// ```
/// use std::time::Duration;
/// use http::Request;
/// use palisade_retry::{Repeatable, RetryOverride};
///
/// let request = Request::post("https://api.example/search")
///     .extension(RetryOverride::new().attempts(5).repeatable(Repeatable::Always))
///     .body(())?;
/// # Ok::<_, http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct RetryOverride {
    pub(crate) attempts: Option<u32>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) repeatable: Option<Repeatable>,
}

impl RetryOverride {
    /// Overrides nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of attempts, the first one included.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn attempts(self, attempts: u32) -> Self {
        literal(self.try_attempts(attempts))
    }

    /// As [`attempts`](Self::attempts), for a value from outside.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn try_attempts(mut self, attempts: u32) -> Result<Self, InvalidSetting> {
        self.attempts = Some(check_attempts(attempts)?);
        Ok(self)
    }

    /// Sets how long after the call begins an attempt may still start.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn deadline(self, deadline: Duration) -> Self {
        literal(self.try_deadline(deadline))
    }

    /// As [`deadline`](Self::deadline), for a value from outside.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn try_deadline(mut self, deadline: Duration) -> Result<Self, InvalidSetting> {
        self.deadline = Some(check_deadline(deadline)?);
        Ok(self)
    }

    /// Sets whether the request may be sent again, whatever its method.
    pub fn repeatable(mut self, repeatable: Repeatable) -> Self {
        self.repeatable = Some(repeatable);
        self
    }
}

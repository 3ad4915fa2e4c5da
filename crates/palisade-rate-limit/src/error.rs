use std::{error::Error, fmt, time::Duration};

use http::{HeaderValue, Response, StatusCode, header::RETRY_AFTER};
use palisade_core::{ErrorKind, Refusal};

/// A limiter refused a request.
///
/// As an error it stands where [`find_cause`](palisade_core::find_cause) finds
/// it, and its source is a [`Refusal`], so that layers further out know what it
/// is without knowing this crate.
///
/// ```
/// use palisade_rate_limit::{LimitedReason, Limiter, Quota, Wait};
///
/// let limiter = Limiter::new(Quota::per_hour(1)).wait(Wait::reject());
/// limiter.try_acquire(1)?;
/// let limited = limiter.try_acquire(1).unwrap_err();
/// assert_eq!(limited.reason(), LimitedReason::Exhausted);
/// assert!(limited.retry_after().is_some());
/// # Ok::<_, palisade_rate_limit::Limited>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    refusal: Refusal,
    reason: LimitedReason,
}

/// Why a limiter refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitedReason {
    /// The quota is used up, and nobody waits here.
    Exhausted,
    /// It would have to wait for longer than it may.
    TooLong,
    /// As many wait as may.
    Full,
    /// It costs more than there ever is at once.
    OverBurst,
    /// All that waited were sent away.
    Shed,
}

impl LimitedReason {
    /// The reason in snake case, as used for labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::TooLong => "too_long",
            Self::Full => "full",
            Self::OverBurst => "over_burst",
            Self::Shed => "shed",
        }
    }
}

impl Limited {
    pub(crate) fn new(reason: LimitedReason, retry_after: Option<Duration>) -> Self {
        let refusal = Refusal::new(ErrorKind::Limited);
        let refusal = match retry_after {
            Some(delay) => refusal.after(delay),
            None => refusal,
        };
        Self { refusal, reason }
    }

    /// How long until another try makes sense: until the quota would allow this
    /// request, if all that wait are served before. Nothing, if it never will,
    /// or if the limiter sent it away.
    pub fn retry_after(&self) -> Option<Duration> {
        self.refusal.retry_after()
    }

    /// Why it was refused.
    pub fn reason(&self) -> LimitedReason {
        self.reason
    }

    /// An answer in place of the error: 429 (RFC 6585, section 4) with an empty
    /// body, and a `Retry-After` of whole seconds, rounded up, at least 1.
    pub fn response<B: Default>(self) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        if let Some(delay) = self.retry_after() {
            let seconds = delay.as_nanos().div_ceil(1_000_000_000).max(1);
            let seconds = HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX));
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }
}

impl fmt::Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.reason {
            LimitedReason::Exhausted => "quota is used up",
            LimitedReason::TooLong => "quota would let it through too late",
            LimitedReason::Full => "too many wait for the quota",
            LimitedReason::OverBurst => "costs more than the quota's burst: raise the burst",
            LimitedReason::Shed => "sent away by the limiter's owner",
        })
    }
}

impl Error for Limited {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.refusal)
    }
}

use std::{error::Error, fmt, time::Duration};

use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use palisade_core::{ErrorKind, Refusal};

use crate::{
    Quota,
    fields::{self, Name, QuotaState, ceil},
};

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
    // The one that has too few tokens.
    quota: Option<Quota>,
}

/// Why a limiter refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitedReason {
    /// The quota is used up, or as many are in flight as may be, and nobody
    /// waits here.
    Exhausted,
    /// Nothing is let go for a while: somebody here, or the server, wants it so.
    Paused,
    /// It would have to wait for longer than it may, or has waited for so long.
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
            Self::Paused => "paused",
            Self::TooLong => "too_long",
            Self::Full => "full",
            Self::OverBurst => "over_burst",
            Self::Shed => "shed",
        }
    }
}

impl Limited {
    /// For limiters of your own: see [`Limit`](crate::Limit).
    pub fn new(reason: LimitedReason, retry_after: Option<Duration>) -> Self {
        let refusal = Refusal::new(ErrorKind::Limited);
        let refusal = match retry_after {
            Some(delay) => refusal.after(delay),
            None => refusal,
        };
        Self { refusal, reason, quota: None }
    }

    pub(crate) fn by(mut self, quota: Option<Quota>) -> Self {
        self.quota = quota;
        self
    }

    /// How long until another try makes sense: until the quota would allow this
    /// request, if all that wait are served before. Nothing, if it never will, if
    /// the limiter sent it away, and where nobody knows: others are in flight.
    pub fn retry_after(&self) -> Option<Duration> {
        self.refusal.retry_after()
    }

    /// Why it was refused.
    pub fn reason(&self) -> LimitedReason {
        self.reason
    }

    /// The quota that it breaks, or the one that lets it through last of all;
    /// nothing, if it was another rule that refused it.
    pub fn quota(&self) -> Option<Quota> {
        self.quota
    }

    /// An answer in place of the error, with an empty body: 429 (RFC 6585,
    /// section 4) if a quota is broken, and otherwise 503.
    ///
    /// If it is known when another try makes sense, it has a `Retry-After` of
    /// whole seconds, rounded up, at least 1; and it tells the quota in
    /// `RateLimit` and `RateLimit-Policy`
    /// (draft-ietf-httpapi-ratelimit-headers-10).
    pub fn response<B: Default>(self) -> Response<B> {
        self.respond(B::default())
    }

    /// The same with problem details as the body (RFC 9457), of the types that
    /// the draft has for it.
    ///
    /// ```
    /// use palisade_rate_limit::{Limiter, Quota, Wait};
    ///
    /// let limiter = Limiter::new(Quota::per_hour(1)).wait(Wait::reject());
    /// limiter.try_acquire(1)?;
    /// let problem = limiter.try_acquire(1).unwrap_err().problem::<String>();
    /// assert_eq!(problem.headers()["content-type"], "application/problem+json");
    /// assert!(problem.body().contains(r#""violated-policies":["1-in-3600s"]"#));
    /// # Ok::<_, palisade_rate_limit::Limited>(())
    /// ```
    pub fn problem<B: From<String>>(self) -> Response<B> {
        let (kind, title, more) = match self.quota {
            Some(quota) => (
                "quota-exceeded",
                "Quota exceeded",
                format!(r#","violated-policies":["{}"]"#, Name(quota)),
            ),
            None => ("temporary-reduced-capacity", "Temporarily reduced capacity", String::new()),
        };
        // No text in here needs an escape.
        let problem = format!(
            concat!(
                r#"{{"type":"https://iana.org/assignments/http-problem-types#{}","#,
                r#""title":"{}","status":{},"detail":"{}"{}}}"#,
            ),
            kind,
            title,
            self.status().as_u16(),
            self,
            more,
        );
        let mut response = self.respond(B::from(problem));
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }

    fn status(&self) -> StatusCode {
        match self.quota {
            Some(_) => StatusCode::TOO_MANY_REQUESTS,
            None => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn respond<B>(self, body: B) -> Response<B> {
        let mut response = Response::new(body);
        *response.status_mut() = self.status();
        // Layers outside are not to take it for an answer of the service.
        response.extensions_mut().insert(self.refusal);
        let headers = response.headers_mut();
        if let Some(delay) = self.retry_after() {
            headers.insert(RETRY_AFTER, ceil(delay).into());
            let states = self.quota.map(|quota| QuotaState { quota, remaining: 0, reset: delay });
            fields::write(headers, states.as_slice());
        }
        response
    }
}

impl fmt::Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.reason {
            LimitedReason::Exhausted => "limit is reached",
            LimitedReason::Paused => "paused for a while",
            LimitedReason::TooLong => "limit would let it through too late",
            LimitedReason::Full => "too many wait for the limit",
            LimitedReason::OverBurst => "costs more than the burst of the quota",
            LimitedReason::Shed => "sent away by the limiter's owner",
        })
    }
}

impl Error for Limited {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.refusal)
    }
}

use std::{fmt, sync::Arc, time::Duration};

use http::{
    HeaderMap, Response,
    header::{AGE, RETRY_AFTER},
};
use palisade_core::{RetryAfter, SystemClock, WallClock};
use palisade_fields::{Allowance, Allowances};

use crate::window::Bounds;

/// Which answers a limiter goes by, and how far: for
/// [`learn`](crate::RateLimitLayer::learn).
///
/// What the server says of its quotas is counted down, and what it has spent, or
/// refuses, nobody asks for until its time has come. Then one request goes, and
/// the others when that was answered. So a limit that the server enforces is met
/// without knowing it, whatever the [`Quota`](crate::Quota) is; one of
/// [`Quota::UNLIMITED`](crate::Quota::UNLIMITED) leaves everything to the
/// server.
///
/// ```
/// use std::time::Duration;
/// use http::Response;
/// use palisade_rate_limit::{Feedback, Quota, RateLimitLayer, Wait};
/// use tokio::time::Instant;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), palisade_core::BoxError> {
/// // Two are left, and in a minute there are more.
/// let api = service_fn(|_: http::Request<()>| async {
///     Response::builder().header("ratelimit", r#""minute";r=2;t=60"#).body(())
/// });
/// let layer = RateLimitLayer::new(Quota::UNLIMITED)
///     .wait(Wait::forever())
///     .learn(Feedback::standard());
/// let client = layer.layer(api);
///
/// let start = Instant::now();
/// for _ in 0..3 {
///     client.clone().oneshot(http::Request::default()).await?;
/// }
/// assert_eq!(start.elapsed().as_secs(), 0);
/// client.oneshot(http::Request::default()).await?;
/// assert!(60 <= start.elapsed().as_secs());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Feedback<L = Standard> {
    pub(crate) learn: L,
    pub(crate) settings: FeedbackSettings,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct FeedbackSettings {
    pub(crate) bounds: Bounds,
    pub(crate) share: bool,
}

/// What an answer says of the server's limits.
pub trait Learn<Res> {
    /// Reads an answer, which may say nothing.
    fn learn<'r>(&self, response: &'r Res) -> Option<Heard<'r>>;
}

/// What was learned from an answer.
#[derive(Clone, Debug, Default)]
pub struct Heard<'r> {
    pub(crate) allowances: Allowances<'r>,
    pub(crate) throttled: bool,
    pub(crate) retry_after: Option<Duration>,
}

impl Feedback {
    /// Goes by the header fields of HTTP: see [`Standard`].
    pub fn standard() -> Self {
        Self::by(Standard::default())
    }

    /// Sets the clock that dates are compared to when a response has no `Date`
    /// of its own. Defaults to [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn WallClock>) -> Self {
        self.learn.clock = Some(clock);
        self
    }
}

impl<L> Feedback<L> {
    /// Goes by what this reads from answers, such as [`learn_fn`].
    pub fn by(learn: L) -> Self {
        Self { learn, settings: FeedbackSettings::default() }
    }

    /// Sets how long nothing is let go at most, whatever the server says; then
    /// one request asks again. Defaults to 5 minutes.
    pub fn max_pause(mut self, longest: Duration) -> Self {
        self.settings.bounds.longest = crate::bucket::nanos(longest);
        self
    }

    /// Sets how long the first pause is when the server refuses and does not say
    /// for how long; with each refusal after that it is twice as long. Defaults
    /// to a second.
    pub fn unsaid_pause(mut self, pause: Duration) -> Self {
        self.settings.bounds.unsaid = crate::bucket::nanos(pause).max(1);
        self
    }

    /// Has limiters of several keys count together what the server counts
    /// together, by the names that it gives its buckets: `X-RateLimit-Bucket`
    /// and `X-RateLimit-Resource`. Off by default: Discord's buckets, for
    /// example, are told apart by more than their names.
    pub fn share_buckets(mut self) -> Self {
        self.settings.share = true;
        self
    }
}

impl Default for FeedbackSettings {
    fn default() -> Self {
        let bounds = Bounds { longest: 300_000_000_000, unsaid: 1_000_000_000 };
        Self { bounds, share: false }
    }
}

/// Learns from HTTP responses.
///
/// Quotas are those of the `RateLimit` fields in the current and in earlier
/// drafts, of the `X-RateLimit` family with GitHub's, Discord's and X's, and of
/// Shopify's `X-Shopify-Shop-Api-Call-Limit`: see
/// [`palisade_fields`]. Refused is what has the status 429; 403, if the quota is
/// spent or there is a `Retry-After`; and 503, if there is one. A `Retry-After`
/// counts for more than the end of a window.
///
/// What comes from a cache says nothing: it is known by an `Age` above zero.
#[derive(Clone, Debug, Default)]
pub struct Standard {
    // None for the system's.
    clock: Option<Arc<dyn WallClock>>,
}

impl<B> Learn<Response<B>> for Standard {
    #[inline]
    fn learn<'r>(&self, response: &'r Response<B>) -> Option<Heard<'r>> {
        let (status, headers) = (response.status().as_u16(), response.headers());
        let may_refuse = matches!(status, 403 | 429 | 503);
        if !may_refuse && !Allowances::are_in(headers) || is_cached(headers) {
            return None;
        }
        let now = || self.clock.as_ref().map_or_else(|| SystemClock.now(), |clock| clock.now());
        let allowances = Allowances::of(headers, now);
        let throttled = match status {
            429 => true,
            403 => headers.contains_key(RETRY_AFTER) || is_spent(&allowances),
            503 => headers.contains_key(RETRY_AFTER),
            _ => false,
        };
        let retry_after = throttled.then(|| RetryAfter::delay_of(headers, now)).flatten();
        Some(Heard { allowances, throttled, retry_after })
    }
}

fn is_spent(allowances: &Allowances<'_>) -> bool {
    allowances.iter().any(|quota| quota.remaining == Some(0))
}

/// draft-ietf-httpapi-ratelimit-headers-10, section 5: ignored with a positive
/// age.
fn is_cached(headers: &HeaderMap) -> bool {
    let age = headers.get(AGE).map(|age| age.as_bytes());
    age.is_some_and(|age| age.iter().any(|digit| (b'1'..=b'9').contains(digit)))
}

/// Learns by a function.
///
/// ```
/// use http::Response;
/// use palisade_rate_limit::{Feedback, Quota, RateLimitLayer, Signal, learn_fn};
///
/// // As a server has it that answers "slow down" with 420.
/// let slow_down = learn_fn(|response: &Response<String>| {
///     (response.status().as_u16() == 420).then(Signal::throttled)
/// });
/// let layer = RateLimitLayer::new(Quota::per_second(10)).learn(Feedback::by(slow_down));
/// # let _ = layer;
/// ```
pub fn learn_fn<Res, F: Fn(&Res) -> Option<Signal>>(learn: F) -> LearnFn<F> {
    LearnFn(learn)
}

/// Made by [`learn_fn`].
#[derive(Clone, Copy)]
pub struct LearnFn<F>(F);

impl<Res, F: Fn(&Res) -> Option<Signal>> Learn<Res> for LearnFn<F> {
    fn learn<'r>(&self, response: &'r Res) -> Option<Heard<'r>> {
        (self.0)(response).map(Heard::from)
    }
}

impl<F> fmt::Debug for LearnFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LearnFn(..)")
    }
}

/// What a server says of its limit, in words of our own: for what stands in
/// bodies, with [`Limiter::report`](crate::Limiter::report), and for
/// [`learn_fn`].
///
/// ```
/// use std::time::Duration;
/// use palisade_rate_limit::{Limiter, Quota, Signal};
///
/// let limiter = Limiter::new(Quota::UNLIMITED);
/// limiter.report(Signal::remaining(1).resets_in(Duration::from_secs(30)));
/// limiter.try_acquire(1)?;
/// assert!(limiter.try_acquire(1).is_err());
/// # Ok::<_, palisade_rate_limit::Limited>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Signal {
    remaining: Option<u64>,
    resets_in: Option<Duration>,
    throttled: bool,
    retry_after: Option<Duration>,
}

impl Signal {
    /// So many are left.
    pub fn remaining(requests: u64) -> Self {
        Self { remaining: Some(requests), ..Self::default() }
    }

    /// The server refuses.
    pub fn throttled() -> Self {
        Self { throttled: true, ..Self::default() }
    }

    /// Sets how long until there are more. Without it, what is left is not
    /// counted down, and where nothing is, the pause is a second.
    pub fn resets_in(mut self, reset: Duration) -> Self {
        self.resets_in = Some(reset);
        self
    }

    /// Sets how long the server asks to be left alone. Without it, that is until
    /// the reset, or ever longer.
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }
}

impl From<Signal> for Heard<'_> {
    fn from(signal: Signal) -> Self {
        let Signal { remaining, resets_in, throttled, retry_after } = signal;
        let mut allowance = Allowance::default();
        (allowance.remaining, allowance.reset) = (remaining, resets_in);
        let says = remaining.is_some() || resets_in.is_some();
        Self { allowances: says.then_some(allowance).into_iter().collect(), throttled, retry_after }
    }
}

#[cfg(all(test, not(palisade_shuttle)))]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn heard(status: u16, fields: &[(&'static str, &'static str)]) -> (bool, Option<u64>, bool) {
        let mut response = Response::builder().status(status).body(()).expect("a status");
        for (name, value) in fields {
            response.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        let heard = Standard::default().learn(&response).unwrap_or_default();
        let after = heard.retry_after.map(|delay| delay.as_secs());
        (heard.throttled, after, !heard.allowances.is_empty())
    }

    #[test]
    fn knows_who_refuses() {
        let spent = ("x-ratelimit-remaining", "0");
        let after = ("retry-after", "7");
        for (status, fields, expected) in [
            (200, &[] as &[_], (false, None, false)),
            (200, &[after], (false, None, false)),
            (200, &[spent], (false, None, true)),
            (429, &[], (true, None, false)),
            (429, &[after], (true, Some(7), false)),
            (403, &[], (false, None, false)),
            (403, &[after], (true, Some(7), false)),
            (403, &[spent], (true, None, true)),
            (403, &[("x-ratelimit-remaining", "3")], (false, None, true)),
            (503, &[], (false, None, false)),
            (503, &[after], (true, Some(7), false)),
            (429, &[("retry-after", "junk")], (true, None, false)),
            (429, &[("retry-after", "1, 9"), ("retry-after", "3")], (true, Some(9), false)),
            // From a cache.
            (200, &[spent, ("age", "0")], (false, None, true)),
            (200, &[spent, ("age", "10")], (false, None, false)),
            (429, &[after, ("age", "10")], (false, None, false)),
        ] {
            assert_eq!(heard(status, fields), expected, "{status} {fields:?}");
        }
    }
}

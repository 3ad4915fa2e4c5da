use std::{fmt, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Response};

use crate::{Answered, Limiter, OnAnswer, Quota};

static RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
static RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Writes into each answer what a limiter has left, in the fields `RateLimit`
/// and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10): made by
/// [`advertise`](crate::RateLimitLayer::advertise).
///
/// What is left is told for whole seconds, as the field knows no fractions: what
/// there is now, and what comes back until then. An answer that has such a field
/// keeps it.
///
/// ```
/// use std::convert::Infallible;
/// use http::{Request, Response};
/// use palisade_rate_limit::{Limited, Quota, RateLimitLayer, Wait, respond_fn};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Infallible> {
/// let layer = RateLimitLayer::new(Quota::per_minute(60).burst(10))
///     .wait(Wait::reject())
///     .on_refusal(respond_fn(Limited::response))
///     .advertise();
/// let handler = service_fn(|_: Request<String>| async {
///     Ok::<_, Infallible>(Response::new("hello".to_owned()))
/// });
/// let response = layer.layer(handler).oneshot(Request::default()).await?;
/// assert_eq!(response.headers()["ratelimit-policy"], r#""60-in-60s";q=60;w=60"#);
/// assert_eq!(response.headers()["ratelimit"], r#""60-in-60s";r=9;t=1"#);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Advertise;

impl OnAnswer for Advertise {
    type Ticket = Limiter;

    fn sent(&self, limiter: &Limiter, _: u32) -> Limiter {
        limiter.clone()
    }
}

impl<B> Answered<Response<B>> for Advertise {
    fn answered(&self, limiter: Limiter, response: &mut Response<B>) {
        write(response.headers_mut(), &limiter.states());
    }
}

/// A quota as it is at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QuotaState {
    pub(crate) quota: Quota,
    pub(crate) remaining: u64,
    /// For how long they are to last.
    pub(crate) reset: Duration,
}

impl QuotaState {
    /// Of one that has so many tokens now, and the next one after so many
    /// nanoseconds.
    ///
    /// The field knows whole seconds alone: so it tells how many there are until
    /// the end of one, or until there is one again.
    pub(crate) fn of(quota: Quota, there: u32, next: u64) -> Self {
        let reset = Duration::from_secs(ceil(Duration::from_nanos(next)));
        let interval = quota.interval().as_nanos().max(1);
        // If there are some, the next one comes an interval after now at the latest.
        let first = if there == 0 { u128::from(next) } else { interval };
        let more = match reset.as_nanos().checked_sub(first) {
            Some(rest) if 0 < rest => 1 + (rest - 1) / interval,
            _ => 0,
        };
        let most = in_seconds(quota).0;
        let remaining = u64::from(there).saturating_add(u64::try_from(more).unwrap_or(u64::MAX));
        Self { quota, remaining: remaining.min(most), reset }
    }
}

/// Writes the fields where there are none, for those quotas that are limits.
pub(crate) fn write(headers: &mut HeaderMap, states: &[QuotaState]) {
    let states = || states.iter().filter(|state| !state.quota.interval().is_zero());
    let policies = states().map(|QuotaState { quota, .. }| {
        let (count, seconds) = in_seconds(*quota);
        format!(r#""{}";q={count};w={seconds}"#, Name(*quota))
    });
    let limits = states().map(|QuotaState { quota, remaining, reset }| {
        format!(r#""{}";r={remaining};t={}"#, Name(*quota), ceil(*reset))
    });
    set(headers, &RATELIMIT_POLICY, &policies.collect::<Vec<_>>());
    set(headers, &RATELIMIT, &limits.collect::<Vec<_>>());
}

fn set(headers: &mut HeaderMap, name: &HeaderName, items: &[String]) {
    if items.is_empty() || headers.contains_key(name) {
        return;
    }
    if let Ok(value) = HeaderValue::try_from(items.join(", ")) {
        headers.insert(name, value);
    }
}

/// The name of a quota says what it is.
pub(crate) struct Name(pub(crate) Quota);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, seconds) = in_seconds(self.0);
        write!(f, "{count}-in-{seconds}s")
    }
}

/// The largest number in a structured field: RFC 9651, section 3.3.1.
const LARGEST: u64 = 999_999_999_999_999;

/// A quota in a window of whole seconds, as the field has it: no more than there
/// may be in it.
fn in_seconds(quota: Quota) -> (u64, u64) {
    let (count, window) = (u128::from(quota.count()), quota.window().as_nanos().max(1));
    let seconds = ceil(quota.window());
    let count = count * u128::from(seconds) * 1_000_000_000 / window;
    (u64::try_from(count).unwrap_or(u64::MAX).clamp(1, LARGEST), seconds)
}

/// Whole seconds, rounded up, at least one.
pub(crate) fn ceil(time: Duration) -> u64 {
    let seconds = time.as_nanos().div_ceil(1_000_000_000);
    u64::try_from(seconds).unwrap_or(u64::MAX).clamp(1, LARGEST)
}

#[cfg(all(test, not(palisade_shuttle)))]
mod tests {
    use palisade_fields::Allowances;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    // By a parser that is not ours.
    #[test]
    fn what_is_written_can_be_read() {
        for (quota, remaining, reset, expected) in [
            (Quota::per_second(100), 10, Duration::from_millis(1), (10, 1, 100, 1)),
            (Quota::per_minute(60), 0, Duration::from_millis(999), (0, 1, 60, 60)),
            (Quota::per_minute(60), 0, SECOND, (0, 1, 60, 60)),
            (Quota::per_hour(5000), 17, SECOND * 1000, (17, 1000, 5000, 3600)),
            (Quota::every(SECOND / 4), 0, SECOND, (0, 1, 4, 1)),
            (Quota::every(Duration::from_millis(900)), 1, Duration::ZERO, (1, 1, 1, 1)),
            (Quota::every(Duration::from_millis(1500)), 1, Duration::ZERO, (1, 1, 1, 2)),
            (Quota::at_most(100, SECOND), 7, SECOND * 3 / 2, (7, 2, 100, 1)),
            (Quota::every(Duration::from_nanos(1)), 7, SECOND, (7, 1, 1_000_000_000, 1)),
        ] {
            let mut headers = HeaderMap::new();
            write(&mut headers, &[QuotaState { quota, remaining, reset }]);
            let found = Allowances::of(&headers, || unreachable!("there is no date"));
            let allowance = found.iter().next().expect("there is one");
            let read = (
                allowance.remaining.unwrap(),
                allowance.reset.unwrap().as_secs(),
                allowance.limit.unwrap(),
                allowance.window.unwrap().as_secs(),
            );
            assert_eq!(read, expected, "{quota:?}");
        }
    }

    #[test]
    fn what_comes_back_until_the_next_second_is_left() {
        const MILLI: u64 = 1_000_000;
        for (quota, there, next, expected) in [
            (Quota::per_second(100), 10, 0, (100, 1)),
            (Quota::per_second(100), 0, 10 * MILLI, (99, 1)),
            (Quota::per_second(100), 0, 1000 * MILLI, (0, 1)),
            (Quota::per_second(1), 1, 0, (1, 1)),
            (Quota::per_second(1), 0, 500 * MILLI, (1, 1)),
            (Quota::per_second(1), 0, 1000 * MILLI, (0, 1)),
            (Quota::per_minute(1), 0, 60_000 * MILLI, (0, 60)),
            (Quota::per_minute(1), 1, 0, (1, 1)),
            (Quota::per_hour(3600).burst(360), 260, 0, (260, 1)),
            (Quota::per_hour(3600).burst(360), 0, 700 * MILLI, (1, 1)),
            (Quota::at_most(100, SECOND), 0, 5 * MILLI, (99, 1)),
        ] {
            let state = QuotaState::of(quota, there, next);
            assert_eq!((state.remaining, state.reset.as_secs()), expected, "{quota:?} {there}");
        }
    }

    #[test]
    fn several_quotas_are_a_list() {
        let state = |quota| QuotaState { quota, remaining: 1, reset: Duration::ZERO };
        let quotas = [Quota::per_second(5), Quota::UNLIMITED, Quota::per_hour(9)];
        let mut headers = HeaderMap::new();
        write(&mut headers, &quotas.map(state));
        assert_eq!(headers["ratelimit"], r#""5-in-1s";r=1;t=1, "9-in-3600s";r=1;t=1"#);
        assert_eq!(headers["ratelimit-policy"], r#""5-in-1s";q=5;w=1, "9-in-3600s";q=9;w=3600"#);
    }

    #[test]
    fn what_is_there_stays_and_no_limit_says_nothing() {
        let state = |quota| QuotaState { quota, remaining: 1, reset: Duration::ZERO };
        let mut headers = HeaderMap::new();
        write(&mut headers, &[state(Quota::UNLIMITED)]);
        assert!(headers.is_empty());
        headers.insert("ratelimit", HeaderValue::from_static("theirs;r=1"));
        write(&mut headers, &[state(Quota::per_second(5))]);
        assert_eq!(headers["ratelimit"], "theirs;r=1");
    }
}

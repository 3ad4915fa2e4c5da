use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, HeaderValue};
use palisade_core::{Outcome, RetryAfter, SystemClock, WallClock, date_of, parse_seconds};
use palisade_fields::{Allowance, Allowances};

/// Which of the server's words on when to retry are heard, and how far they
/// are followed.
///
/// | source | fields |
/// |---|---|
/// | [`GrpcPushback`](HintSource::GrpcPushback) | `grpc-retry-pushback-ms` |
/// | [`RetryAfterMs`](HintSource::RetryAfterMs) | `retry-after-ms`, `x-ms-retry-after-ms` |
/// | [`RetryAfter`](HintSource::RetryAfter) | `Retry-After` |
/// | [`RateLimit`](HintSource::RateLimit) | `RateLimit`, `RateLimit-Reset`, `X-RateLimit-Reset-After`, `X-RateLimit-Reset`, `X-Rate-Limit-Reset` |
///
/// The first source of this table that says something is heard. The fields of
/// a rate limit tell when the quota is full again, not when to come back, so
/// they count only in an answer that says that it is spent: 429, or nothing
/// remaining.
///
/// ```
/// use std::time::Duration;
/// use palisade_retry::{HintSource, Hints, RetryLayer};
/// use tower::Layer;
/// # let client = tower::service_fn(|_: http::Request<String>| async { Ok::<_, std::io::Error>(http::Response::new(String::new())) });
///
/// let hints = Hints::new().max(Duration::from_secs(5)).sources([HintSource::RetryAfter]);
/// let client = RetryLayer::http().hints(hints).layer(client);
/// # let _ = tower::ServiceExt::oneshot(client, http::Request::new(String::new()));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Hints {
    sources: Vec<HintSource>,
    max: Duration,
    clock: Arc<dyn WallClock>,
}

/// A way in which servers say when to retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum HintSource {
    /// `grpc-retry-pushback-ms`: milliseconds, followed to the letter; a
    /// negative or unreadable value asks not to retry (gRFC A6).
    GrpcPushback,
    /// `retry-after-ms` and `x-ms-retry-after-ms`: milliseconds, as OpenAI and
    /// Azure send them.
    RetryAfterMs,
    /// `Retry-After`: seconds or a date (RFC 9110, section 10.2.3).
    RetryAfter,
    /// The rate limit's reset: the drafts of the IETF's `RateLimit` fields,
    /// and the `X-RateLimit` fields of GitHub, Discord and others.
    RateLimit,
}

/// What a response says on when to retry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Hint {
    #[default]
    None,
    /// Not before so long.
    After(Duration),
    /// After just so long.
    Exactly(Duration),
    /// Not at all.
    Never,
}

impl Hints {
    /// Hears all sources, up to 30 seconds.
    pub fn new() -> Self {
        Self {
            sources: vec![
                HintSource::GrpcPushback,
                HintSource::RetryAfterMs,
                HintSource::RetryAfter,
                HintSource::RateLimit,
            ],
            max: Duration::from_secs(30),
            clock: Arc::new(SystemClock),
        }
    }

    /// Sets the longest hint that is followed, a breaker's or limiter's on this
    /// side included. When more is asked for, the answer at hand is returned at
    /// once. Where there is no deadline, layers on this side are waited for until
    /// all delays are so long in sum. Defaults to 30 seconds.
    pub fn max(mut self, max: Duration) -> Self {
        self.max = max;
        self
    }

    /// Sets what is heard. Defaults to everything.
    pub fn sources(mut self, sources: impl IntoIterator<Item = HintSource>) -> Self {
        self.sources = sources.into_iter().collect();
        self.sources.sort_unstable();
        self
    }

    /// Sets the clock that dates are compared to when a response has no `Date`
    /// of its own. Defaults to [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn WallClock>) -> Self {
        self.clock = clock;
        self
    }

    pub(crate) fn longest(&self) -> Duration {
        self.max
    }

    pub(crate) fn of(&self, headers: &HeaderMap, outcome: Outcome) -> Hint {
        let now = || date_of(headers).unwrap_or_else(|| self.clock.now());
        let hints = self.sources.iter().map(|source| match source {
            HintSource::GrpcPushback => pushback(headers),
            HintSource::RetryAfterMs => after(millis(headers)),
            HintSource::RetryAfter => after(RetryAfter::delay_of(headers, now)),
            HintSource::RateLimit => after(reset(headers, outcome == Outcome::Throttled, now)),
        });
        hints.into_iter().find(|hint| *hint != Hint::None).unwrap_or_default()
    }
}

impl Default for Hints {
    fn default() -> Self {
        Self::new()
    }
}

// Parsed while compiling: a look into a response without them is free.
static GRPC_RETRY_PUSHBACK_MS: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
static RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
static X_MS_RETRY_AFTER_MS: HeaderName = HeaderName::from_static("x-ms-retry-after-ms");

fn after(delay: Option<Duration>) -> Hint {
    delay.map_or(Hint::None, Hint::After)
}

fn pushback(headers: &HeaderMap) -> Hint {
    match headers.get(&GRPC_RETRY_PUSHBACK_MS) {
        None => Hint::None,
        Some(value) => milliseconds(value).map_or(Hint::Never, Hint::Exactly),
    }
}

fn millis(headers: &HeaderMap) -> Option<Duration> {
    let named = |name| headers.get_all(name).iter();
    let values = named(&RETRY_AFTER_MS).chain(named(&X_MS_RETRY_AFTER_MS));
    values.filter_map(milliseconds).max()
}

/// How long until a rate limit is full again, if it is spent: if nothing
/// remains of it, or nothing is said of that and `throttled` is.
fn reset(headers: &HeaderMap, throttled: bool, now: impl Fn() -> SystemTime) -> Option<Duration> {
    let allowances = Allowances::of(headers, now);
    let said = allowances.iter().any(|quota| quota.remaining.is_some());
    let is_spent = |quota: &&Allowance<'_>| match quota.remaining {
        Some(remaining) => remaining == 0,
        None => throttled && !said,
    };
    allowances.iter().filter(is_spent).filter_map(|quota| quota.reset).max()
}

/// Milliseconds, with the leniency of [`parse_seconds`]; of several in a row,
/// the most.
fn milliseconds(value: &HeaderValue) -> Option<Duration> {
    let values = value.to_str().ok()?.split(',');
    values.filter_map(|value| parse_seconds(value.trim())).max().map(|value| value / 1000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    #[derive(Debug)]
    struct Stopped;

    impl WallClock for Stopped {
        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH + NOW
        }
    }

    fn hint(outcome: Outcome, fields: &[(&'static str, &str)]) -> Hint {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Hints::new().clock(Arc::new(Stopped)).of(&headers, outcome)
    }

    fn seconds(seconds: u64) -> Hint {
        Hint::After(Duration::from_secs(seconds))
    }

    #[test]
    fn hears_each_field() {
        for (name, value, expected) in [
            ("retry-after", "7", seconds(7)),
            ("retry-after", "junk", Hint::None),
            ("retry-after-ms", "7000", seconds(7)),
            ("retry-after-ms", "-1", Hint::None),
            ("retry-after-ms", "1500.5", Hint::After(Duration::from_micros(1_500_500))),
            ("retry-after-ms", "100000000000000000000", Hint::After(Duration::MAX / 1000)),
            ("x-ms-retry-after-ms", "7000", seconds(7)),
            ("retry-after-ms", "7000, 3000", seconds(7)),
            ("ratelimit", r#""default";r=0;t=7"#, seconds(7)),
            ("ratelimit", r#""burst";r=0;t=7, "daily";r=5;t=100"#, seconds(7)),
            ("ratelimit", r#""burst";r=0;t=7, "daily";r=0;t=100"#, seconds(100)),
            ("ratelimit", r#""burst";r=3;t=7"#, Hint::None),
            ("ratelimit", r#""burst";t=7, "daily";t=9"#, seconds(9)),
            ("ratelimit", r#""a;r=0,\"b";r=5;t=9, "c";t=3;r=0"#, seconds(3)),
            ("ratelimit", r#""open;r=0;t=9"#, Hint::None),
            ("ratelimit", "limit=10, remaining=0, reset=7", seconds(7)),
            ("ratelimit", "limit=10, remaining=0", Hint::None),
            ("ratelimit-reset", "7", seconds(7)),
            ("x-ratelimit-reset-after", "0.5", Hint::After(Duration::from_millis(500))),
            ("x-ratelimit-reset", "7", seconds(7)),
            ("x-ratelimit-reset", "1800000007", seconds(7)),
            ("x-ratelimit-reset", "1800000007000", seconds(7)),
            ("x-ratelimit-reset", "1700000000", seconds(0)),
            ("x-ratelimit-reset", "soon", Hint::None),
            ("grpc-retry-pushback-ms", "7", Hint::Exactly(Duration::from_millis(7))),
            ("grpc-retry-pushback-ms", "-1", Hint::Never),
            ("grpc-retry-pushback-ms", "soon", Hint::Never),
        ] {
            assert_eq!(hint(Outcome::Throttled, &[(name, value)]), expected, "{name}: {value}");
        }
    }

    #[test]
    fn a_reset_counts_only_when_the_quota_is_spent() {
        let reset = ("x-ratelimit-reset", "7");
        assert_eq!(hint(Outcome::Transient, &[reset]), Hint::None);
        assert_eq!(hint(Outcome::Transient, &[reset, ("x-ratelimit-remaining", "3")]), Hint::None);
        assert_eq!(hint(Outcome::Transient, &[reset, ("x-ratelimit-remaining", "0")]), seconds(7));
        assert_eq!(hint(Outcome::Transient, &[("ratelimit", r#""a";r=1;t=7"#)]), Hint::None);
        assert_eq!(hint(Outcome::Transient, &[("ratelimit", r#""a";r=0;t=7"#)]), seconds(7));
    }

    #[test]
    fn what_remains_counts_more_than_the_status() {
        let reset = ("x-ratelimit-reset", "3600");
        assert_eq!(
            hint(Outcome::Throttled, &[reset, ("x-ratelimit-remaining", "4990")]),
            Hint::None
        );
        assert_eq!(
            hint(Outcome::Throttled, &[reset, ("x-ratelimit-remaining", "0")]),
            seconds(3600)
        );
    }

    #[test]
    fn what_remains_is_a_number() {
        for (remaining, expected) in [
            ("0", seconds(7)),
            ("-1", seconds(7)),
            ("00", seconds(7)),
            ("3", Hint::None),
            // Who says nothing that can be read leaves it to the status.
            ("0, 12", seconds(7)),
            ("few", seconds(7)),
        ] {
            let fields = [("x-ratelimit-remaining", remaining), ("x-ratelimit-reset", "7")];
            assert_eq!(hint(Outcome::Throttled, &fields), expected, "{remaining}");
        }
        let fields = [("x-ratelimit-remaining", "few"), ("x-ratelimit-reset", "7")];
        assert_eq!(hint(Outcome::Transient, &fields), Hint::None);
    }

    #[test]
    fn tells_the_drafts_apart() {
        for (line, expected) in [
            ("limit=10;w=60, remaining=9, reset=3600", Hint::None),
            ("limit=10;w=60, remaining=0, reset=7", seconds(7)),
            (r#""a=b";r=0;t=7, "c";r=1;t=90"#, seconds(7)),
            ("burst;r=0;t=7", seconds(7)),
            (r#""a";r=00;t=7"#, seconds(7)),
        ] {
            assert_eq!(hint(Outcome::Throttled, &[("ratelimit", line)]), expected, "{line}");
        }
        let fields = [("ratelimit", r#""a";r=0, "b";r=5;t=9"#), ("x-ratelimit-reset", "7")];
        assert_eq!(hint(Outcome::Throttled, &fields), seconds(7));
    }

    #[test]
    fn a_limit_without_a_time_leaves_the_word_to_others() {
        let fields = [("ratelimit", r#""default";r=0"#), ("x-ratelimit-reset", "7")];
        assert_eq!(hint(Outcome::Throttled, &fields), seconds(7));
    }

    #[test]
    fn a_time_of_day_counts_from_the_date_of_the_answer() {
        let fields =
            [("date", "Fri, 15 Jan 2027 07:00:00 GMT"), ("x-ratelimit-reset", "1799996407")];
        assert_eq!(hint(Outcome::Throttled, &fields), seconds(7));
    }

    #[test]
    fn all_lines_of_a_list_are_read() {
        let lines = [("ratelimit", r#""a";r=0;t=7"#), ("ratelimit", r#""b";r=0;t=20"#)];
        assert_eq!(hint(Outcome::Throttled, &lines), seconds(20));
        let lines = [
            ("retry-after-ms", "7000"),
            ("x-ms-retry-after-ms", "9000"),
            ("retry-after-ms", "3000"),
        ];
        assert_eq!(hint(Outcome::Throttled, &lines), seconds(9));
    }

    #[test]
    fn the_first_source_that_speaks_is_heard() {
        let fields =
            [("x-ratelimit-reset", "600"), ("retry-after", "2"), ("retry-after-ms", "1500")];
        assert_eq!(hint(Outcome::Throttled, &fields), Hint::After(Duration::from_millis(1500)));
        assert_eq!(hint(Outcome::Throttled, &fields[..2]), seconds(2));
        assert_eq!(hint(Outcome::Throttled, &fields[..1]), seconds(600));
        let hints = Hints::new().sources([]);
        let headers =
            HeaderMap::from_iter([(http::header::RETRY_AFTER, HeaderValue::from_static("7"))]);
        assert_eq!(hints.of(&headers, Outcome::Throttled), Hint::None);
    }

    proptest! {
        #[test]
        fn any_value_is_read_without_a_panic(value in prop::collection::vec(any::<u8>(), 0..64)) {
            let Ok(value) = HeaderValue::from_bytes(&value) else { return Ok(()) };
            for name in ["ratelimit", "ratelimit-reset", "x-ratelimit-reset", "retry-after-ms", "grpc-retry-pushback-ms"] {
                let headers = HeaderMap::from_iter([(HeaderName::from_static(name), value.clone())]);
                Hints::new().of(&headers, Outcome::Throttled);
            }
        }
    }
}

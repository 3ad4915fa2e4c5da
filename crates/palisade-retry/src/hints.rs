use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, HeaderValue};
use palisade_core::{Outcome, RetryAfter, SystemClock, WallClock, parse_seconds};

/// Which of the server's words on when to retry are heard, and how far they
/// are followed.
///
/// | source | fields |
/// |---|---|
/// | [`GrpcPushback`](HintSource::GrpcPushback) | `grpc-retry-pushback-ms` |
/// | [`RetryAfterMs`](HintSource::RetryAfterMs) | `retry-after-ms`, `x-ms-retry-after-ms` |
/// | [`RetryAfter`](HintSource::RetryAfter) | `Retry-After` |
/// | [`RateLimit`](HintSource::RateLimit) | `RateLimit`, `RateLimit-Reset`, `X-RateLimit-Reset-After`, `X-RateLimit-Reset` |
///
/// The first source of this table that says something is heard. The fields of
/// a rate limit tell when the quota is full again, not when to come back, so
/// they count only in an answer that says that it is spent: 429, or nothing
/// remaining.
///
/// ```
/// use std::time::Duration;
/// use palisade_retry::{HintSource, Hints, RetryLayer};
///
/// let hints = Hints::new().max(Duration::from_secs(5)).sources([HintSource::RetryAfter]);
/// let layer = RetryLayer::http().hints(hints);
/// # let layer: RetryLayer<palisade_retry::Rules<palisade_core::HttpClassify, _, _, _, _, _>> = layer;
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

    /// Sets the longest hint that is followed. When the server asks for more,
    /// its answer is returned at once. Defaults to 30 seconds.
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
        let now = || self.clock.now();
        let hints = self.sources.iter().map(|source| match source {
            HintSource::GrpcPushback => pushback(headers),
            HintSource::RetryAfterMs => after(millis(headers)),
            HintSource::RetryAfter => after(RetryAfter::delay_of(headers, now)),
            HintSource::RateLimit => after(reset(headers, outcome == Outcome::Throttled, now)),
        });
        hints
            .into_iter()
            .find(|hint| *hint != Hint::None)
            .unwrap_or_default()
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
static RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
static RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
static X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
static RATELIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
static X_RATELIMIT_RESET_AFTER: HeaderName = HeaderName::from_static("x-ratelimit-reset-after");
static X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

fn after(delay: Option<Duration>) -> Hint {
    delay.map_or(Hint::None, Hint::After)
}

fn pushback(headers: &HeaderMap) -> Hint {
    match headers.get(&GRPC_RETRY_PUSHBACK_MS) {
        None => Hint::None,
        Some(value) => number(value).map_or(Hint::Never, |millis| {
            Hint::Exactly(Duration::from_millis(millis))
        }),
    }
}

fn millis(headers: &HeaderMap) -> Option<Duration> {
    let named = |name| headers.get_all(name).iter();
    let values = named(&RETRY_AFTER_MS).chain(named(&X_MS_RETRY_AFTER_MS));
    values.filter_map(number).max().map(Duration::from_millis)
}

/// How long until a rate limit is full again, if it is spent.
fn reset(headers: &HeaderMap, spent: bool, now: impl Fn() -> SystemTime) -> Option<Duration> {
    let text = |name: &HeaderName| headers.get(name)?.to_str().ok();
    let is_zero = |name| text(name).is_some_and(|remaining| remaining.trim() == "0");
    if let Some(limit) = text(&RATELIMIT) {
        return structured_reset(limit, spent);
    }
    if spent || is_zero(&RATELIMIT_REMAINING) || is_zero(&X_RATELIMIT_REMAINING) {
        let delta = text(&RATELIMIT_RESET).or_else(|| text(&X_RATELIMIT_RESET_AFTER));
        return delta
            .and_then(|delta| parse_seconds(delta.trim()))
            .or_else(|| ambiguous_reset(text(&X_RATELIMIT_RESET)?.trim(), now));
    }
    None
}

/// `"burst";r=0;t=30, "daily";r=7;t=500` of the later drafts, and `limit=100,
/// remaining=0, reset=30` of the earlier ones. Of several quotas, the longest
/// that is spent counts.
fn structured_reset(limit: &str, spent: bool) -> Option<Duration> {
    let parameter = |item: &str, names: [&str; 2]| {
        let mut pairs = item
            .split([';', ','])
            .filter_map(|pair| pair.split_once('='));
        pairs
            .find(|(name, _)| names.contains(&name.trim()))
            .map(|(_, value)| value.trim().to_owned())
    };
    let single = !limit.contains(';');
    let items = if single {
        vec![limit]
    } else {
        limit.split(',').collect()
    };
    let quotas = items.iter().filter_map(|item| {
        let remaining = parameter(item, ["r", "remaining"]);
        let reset = parse_seconds(&parameter(item, ["t", "reset"])?)?;
        Some((remaining.as_deref() == Some("0"), reset))
    });
    let quotas: Vec<_> = quotas.collect();
    let longest = |quotas: &[(bool, Duration)], empty| {
        quotas.iter().filter(|q| q.0 == empty).map(|q| q.1).max()
    };
    longest(&quotas, true).or_else(|| spent.then(|| longest(&quotas, false)).flatten())
}

/// `X-RateLimit-Reset` is seconds to wait, a Unix time in seconds or one in
/// milliseconds, depending on the service; its size tells which.
fn ambiguous_reset(value: &str, now: impl Fn() -> SystemTime) -> Option<Duration> {
    const YEAR_2001: Duration = Duration::from_secs(1_000_000_000);
    let reset = parse_seconds(value)?;
    if reset < YEAR_2001 {
        return Some(reset);
    }
    let since_epoch = if reset < YEAR_2001 * 1000 {
        reset
    } else {
        reset / 1000
    };
    let now = now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Some(since_epoch.saturating_sub(now))
}

fn number(value: &HeaderValue) -> Option<u64> {
    let value = value.to_str().ok()?.trim();
    value
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| value.parse().ok())?
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
            ("x-ms-retry-after-ms", "7000", seconds(7)),
            ("ratelimit", r#""default";r=0;t=7"#, seconds(7)),
            (
                "ratelimit",
                r#""burst";r=0;t=7, "daily";r=5;t=100"#,
                seconds(7),
            ),
            (
                "ratelimit",
                r#""burst";r=0;t=7, "daily";r=0;t=100"#,
                seconds(100),
            ),
            ("ratelimit", r#""burst";r=3;t=7"#, seconds(7)),
            ("ratelimit", "limit=10, remaining=0, reset=7", seconds(7)),
            ("ratelimit", "limit=10, remaining=0", Hint::None),
            ("ratelimit-reset", "7", seconds(7)),
            (
                "x-ratelimit-reset-after",
                "0.5",
                Hint::After(Duration::from_millis(500)),
            ),
            ("x-ratelimit-reset", "7", seconds(7)),
            ("x-ratelimit-reset", "1800000007", seconds(7)),
            ("x-ratelimit-reset", "1800000007000", seconds(7)),
            ("x-ratelimit-reset", "1700000000", seconds(0)),
            ("x-ratelimit-reset", "soon", Hint::None),
            (
                "grpc-retry-pushback-ms",
                "7",
                Hint::Exactly(Duration::from_millis(7)),
            ),
            ("grpc-retry-pushback-ms", "-1", Hint::Never),
            ("grpc-retry-pushback-ms", "soon", Hint::Never),
        ] {
            assert_eq!(
                hint(Outcome::Throttled, &[(name, value)]),
                expected,
                "{name}: {value}"
            );
        }
    }

    #[test]
    fn a_reset_counts_only_when_the_quota_is_spent() {
        let reset = ("x-ratelimit-reset", "7");
        assert_eq!(hint(Outcome::Transient, &[reset]), Hint::None);
        assert_eq!(
            hint(Outcome::Transient, &[reset, ("x-ratelimit-remaining", "3")]),
            Hint::None
        );
        assert_eq!(
            hint(Outcome::Transient, &[reset, ("x-ratelimit-remaining", "0")]),
            seconds(7)
        );
        assert_eq!(
            hint(Outcome::Transient, &[("ratelimit", r#""a";r=1;t=7"#)]),
            Hint::None
        );
        assert_eq!(
            hint(Outcome::Transient, &[("ratelimit", r#""a";r=0;t=7"#)]),
            seconds(7)
        );
    }

    #[test]
    fn the_first_source_that_speaks_is_heard() {
        let fields = [
            ("x-ratelimit-reset", "600"),
            ("retry-after", "2"),
            ("retry-after-ms", "1500"),
        ];
        assert_eq!(
            hint(Outcome::Throttled, &fields),
            Hint::After(Duration::from_millis(1500))
        );
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

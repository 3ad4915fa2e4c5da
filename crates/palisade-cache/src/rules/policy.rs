//! What is known of a stored response, read once: RFC 9111, section 4.2.

mod wire;

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, Method, StatusCode, Uri,
    header::{CACHE_CONTROL, DATE, EXPIRES, LAST_MODIFIED, PRAGMA},
};

use super::{
    age,
    date::Dated,
    directives::response::{Listed, ResponseDirectives},
    etag::EntityTag,
    list::{self, MAX_SECONDS},
    options::{Options, Ttl},
    status,
};

/// The longest lifetime that is guessed.
const MAX_HEURISTIC: u64 = 24 * 60 * 60;

/// How long a response with a validator is worth keeping once it is stale.
const WORTH_VALIDATING: u32 = 24 * 60 * 60;

/// A request and the response to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange<'x> {
    pub(crate) method: &'x Method,
    pub(crate) uri: &'x Uri,
    pub(crate) request: &'x HeaderMap,
    pub(crate) status: StatusCode,
    pub(crate) response: &'x HeaderMap,
    /// When the request was sent, and when the response came.
    pub(crate) asked: SystemTime,
    pub(crate) received: SystemTime,
}

/// All that a lookup has to know of a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Since 1970, in milliseconds, as the next.
    received: u64,
    initial_age: u64,
    /// In seconds, as those that follow.
    pub(super) lifetime: u32,
    pub(super) while_revalidating: u32,
    pub(super) if_error: u32,
    flags: u8,
}

impl Policy {
    /// Must not be used before the origin says so.
    const NO_CACHE: u8 = 1;
    /// Must not be used when it is stale.
    const NEVER_STALE: u8 = 1 << 1;
    const IMMUTABLE: u8 = 1 << 2;
    const VALIDATOR: u8 = 1 << 3;
    const PUBLIC: u8 = 1 << 4;

    /// Of a response whose directives are read.
    pub(super) fn new(
        exchange: &Exchange<'_>,
        directives: &ResponseDirectives,
        lifetime: Lifetime,
        options: &Options<'_>,
    ) -> Self {
        // RFC 9111, section 4.2.4: `s-maxage` is as good as `proxy-revalidate`.
        let for_shared = directives.proxy_revalidate || directives.s_maxage.is_some();
        let never_stale = directives.must_revalidate || options.shared && for_shared;
        let no_cache = directives.no_cache == Listed::Whole && !lifetime.forced;
        let validator = EntityTag::of(exchange.response).is_some()
            || exchange.response.contains_key(LAST_MODIFIED);
        // What is for one user in whatever way is not for all.
        let public = directives.public && directives.private == Listed::Absent;
        let flag = |is: bool, bit: u8| if is { bit } else { 0 };
        let stale = |said: Option<u32>, otherwise: u32| {
            if never_stale || no_cache { 0 } else { said.unwrap_or(otherwise).min(MAX_SECONDS) }
        };
        Self {
            received: millis(exchange.received),
            initial_age: if lifetime.forced { 0 } else { initial_age(exchange) },
            lifetime: lifetime.seconds,
            while_revalidating: stale(
                directives.stale_while_revalidate,
                options.stale_while_revalidate,
            ),
            if_error: stale(directives.stale_if_error, options.stale_if_error),
            flags: flag(no_cache, Self::NO_CACHE)
                | flag(never_stale, Self::NEVER_STALE)
                | flag(directives.immutable, Self::IMMUTABLE)
                | flag(validator, Self::VALIDATOR)
                | flag(public, Self::PUBLIC),
        }
    }

    /// How old the response is, in seconds: RFC 9111, section 4.2.3. To a clock
    /// that was set back, it is as old as it is young.
    pub(crate) fn age(&self, now: SystemTime) -> u32 {
        to_seconds(self.age_millis(now))
    }

    /// How long the response is still fresh, in seconds; less than nothing, if it
    /// is stale.
    pub(crate) fn ttl(&self, now: SystemTime) -> i64 {
        i64::from(self.lifetime) - i64::from(self.age(now))
    }

    /// How long the response is worth keeping from its arrival on.
    pub(crate) fn keep(&self) -> Duration {
        let validating = if self.has_validator() { WORTH_VALIDATING } else { 0 };
        let beyond = self.while_revalidating.max(self.if_error).max(validating);
        let whole = u64::from(self.lifetime) + u64::from(beyond);
        Duration::from_millis((whole * 1000).saturating_sub(self.initial_age))
    }

    /// Whether the origin can be asked if it is still the same.
    pub(crate) fn has_validator(&self) -> bool {
        self.has(Self::VALIDATOR)
    }

    /// Whether the response is for all, whoever asked for it.
    pub(crate) fn is_public(&self) -> bool {
        self.has(Self::PUBLIC)
    }

    pub(super) fn is_no_cache(&self) -> bool {
        self.has(Self::NO_CACHE)
    }

    pub(super) fn is_never_stale(&self) -> bool {
        self.has(Self::NEVER_STALE)
    }

    pub(super) fn is_immutable(&self) -> bool {
        self.has(Self::IMMUTABLE)
    }

    pub(super) fn age_millis(&self, now: SystemTime) -> u64 {
        // It came in what is the future now: nobody knows how old it is, and it must not stay
        // fresh until then.
        self.initial_age.saturating_add(millis(now).abs_diff(self.received))
    }

    /// For how many milliseconds the response has not been fresh any more.
    pub(super) fn late(&self, now: SystemTime) -> Option<u64> {
        self.age_millis(now).checked_sub(u64::from(self.lifetime) * 1000)
    }

    /// Whether there may be a request that the response is of use for. One that
    /// is stale already is, if the request does not mind.
    pub(super) fn is_of_use(&self) -> bool {
        let lives = self.lifetime != 0 || self.while_revalidating != 0 || self.if_error != 0;
        lives && !self.is_no_cache() || self.has_validator()
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// How long a response is fresh, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifetime {
    pub(super) seconds: u32,
    /// Said by the response, or by the user for this route.
    pub(super) explicit: bool,
    /// Said by the user, whatever the response says.
    pub(super) forced: bool,
}

impl Lifetime {
    /// RFC 9111, section 4.2.1, and the route's own rules.
    pub(super) fn of(
        exchange: &Exchange<'_>,
        directives: &ResponseDirectives,
        targeted: bool,
        options: &Options<'_>,
    ) -> Self {
        let explicit = explicit_lifetime(exchange, directives, targeted, options);
        let negative = options.negative.iter().find(|(status, _)| *status == exchange.status);
        let (said, forced) = match options.ttl {
            Some(Ttl::Force(ttl)) if status::is_lasting(exchange.status) => (Some(ttl), true),
            Some(Ttl::Default(ttl)) if status::is_lasting(exchange.status) => {
                (Some(explicit.unwrap_or(ttl)), false)
            }
            _ => (explicit.or_else(|| negative.map(|(_, ttl)| *ttl)), false),
        };
        let seconds = said.unwrap_or_else(|| heuristic_lifetime(exchange, directives));
        let cap = match options.ttl {
            Some(Ttl::Cap(cap)) => cap,
            _ => MAX_SECONDS,
        };
        Self { seconds: seconds.min(cap).min(MAX_SECONDS), explicit: said.is_some(), forced }
    }
}

fn explicit_lifetime(
    exchange: &Exchange<'_>,
    directives: &ResponseDirectives,
    targeted: bool,
    options: &Options<'_>,
) -> Option<u32> {
    let s_maxage = directives.s_maxage.filter(|_| options.shared);
    s_maxage.or(directives.max_age).or_else(|| {
        // RFC 9213, section 2.2: a targeted field counts in place of Expires too.
        if targeted {
            return None;
        }
        match Dated::of(exchange.response, &EXPIRES, exchange.received) {
            Dated::Absent => None,
            // RFC 9111, section 5.3: what is no date is past.
            Dated::Invalid => Some(0),
            Dated::At(expires) => {
                let lifetime = expires.duration_since(sent(exchange)).unwrap_or_default();
                Some(to_seconds(as_millis(lifetime)))
            }
        }
    })
}

/// RFC 9111, section 4.2.2: a tenth of the time since it was last changed.
fn heuristic_lifetime(exchange: &Exchange<'_>, directives: &ResponseDirectives) -> u32 {
    let may = status::is_heuristically_cacheable(exchange.status) || directives.public;
    // Servers of HTTP/1.0 say no-cache like this.
    let pragma = !exchange.response.contains_key(CACHE_CONTROL)
        && list::members(exchange.response, &PRAGMA)
            .any(|pragma| pragma.eq_ignore_ascii_case(b"no-cache"));
    let modified = Dated::of(exchange.response, &LAST_MODIFIED, exchange.received).at();
    let Some(modified) = modified.filter(|_| may && !pragma) else {
        return 0;
    };
    let since = sent(exchange).duration_since(modified).unwrap_or_default().as_secs() / 10;
    since.min(MAX_HEURISTIC) as u32
}

/// When the response was sent. RFC 9110, section 6.6.1: one without Date is dated
/// by its arrival.
fn sent(exchange: &Exchange<'_>) -> SystemTime {
    let date = Dated::of(exchange.response, &DATE, exchange.received).at();
    date.unwrap_or(exchange.received)
}

/// RFC 9111, section 4.2.3, in milliseconds.
fn initial_age(exchange: &Exchange<'_>) -> u64 {
    let apparent = exchange.received.duration_since(sent(exchange)).unwrap_or_default().as_secs();
    let delay = exchange.received.duration_since(exchange.asked).unwrap_or_default();
    let corrected = u64::from(age::of(exchange.response)) * 1000 + as_millis(delay);
    corrected.max(apparent.saturating_mul(1000)).min(u64::from(MAX_SECONDS) * 1000)
}

fn to_seconds(millis: u64) -> u32 {
    (millis / 1000).min(u64::from(MAX_SECONDS)) as u32
}

fn millis(time: SystemTime) -> u64 {
    as_millis(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

fn as_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;
    use crate::rules::{
        admission::admit,
        date,
        lookup::{Demand, Lookup},
    };

    const RECEIVED: u64 = 1_800_000_000;

    fn at(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
    }

    fn policy(fields: &[(&'static str, String)], asked: u64, received: u64) -> Option<Policy> {
        let mut response = HeaderMap::new();
        for (name, value) in fields {
            let value = HeaderValue::try_from(value.as_str()).unwrap();
            response.append(HeaderName::from_static(name), value);
        }
        let exchange = Exchange {
            method: &Method::GET,
            uri: &Uri::from_static("/"),
            request: &HeaderMap::new(),
            status: StatusCode::OK,
            response: &response,
            asked: at(asked),
            received: at(received),
        };
        admit(&exchange, &Options::PRIVATE).ok().map(|admitted| admitted.policy)
    }

    fn of(cache_control: &str) -> Policy {
        let fields = [("cache-control", cache_control.to_owned())];
        policy(&fields, RECEIVED * 1000, RECEIVED * 1000).unwrap()
    }

    #[test]
    fn is_small() {
        assert!(size_of::<Policy>() <= 32);
    }

    #[test]
    fn the_time_on_the_way_makes_a_response_older() {
        let fields = [("cache-control", "max-age=60".to_owned()), ("age", "10".to_owned())];
        let slow = policy(&fields, RECEIVED * 1000 - 2500, RECEIVED * 1000).unwrap();
        assert_eq!(slow.age(at(RECEIVED * 1000)), 12);
        assert_eq!(slow.age(at(RECEIVED * 1000 + 500)), 13);
        // A clock that was set back on the way.
        let back = policy(&fields, RECEIVED * 1000 + 9000, RECEIVED * 1000).unwrap();
        assert_eq!(back.age(at(RECEIVED * 1000)), 10);
    }

    #[test]
    fn a_date_in_the_future_makes_a_response_no_younger() {
        let fields = [
            ("cache-control", "max-age=60".to_owned()),
            ("date", date::format(at((RECEIVED + 600) * 1000)).to_str().unwrap().to_owned()),
        ];
        let policy = policy(&fields, RECEIVED * 1000, RECEIVED * 1000).unwrap();
        assert_eq!(policy.age(at(RECEIVED * 1000 + 59_999)), 59);
        assert_eq!(policy.late(at(RECEIVED * 1000 + 59_999)), None);
        assert_eq!(policy.late(at(RECEIVED * 1000 + 60_000)), Some(0));
    }

    #[test]
    fn a_response_is_kept_while_it_is_of_use() {
        let fields = |fields: &[(&'static str, &str)]| {
            fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect::<Vec<_>>()
        };
        const CC: &str = "cache-control";
        for (fields, seconds) in [
            (fields(&[(CC, "max-age=60")]), 60),
            (fields(&[(CC, "max-age=60"), ("age", "20")]), 40),
            (fields(&[(CC, "max-age=60"), ("age", "90")]), 0),
            (fields(&[(CC, "max-age=60, stale-while-revalidate=30, stale-if-error=90")]), 150),
            (fields(&[(CC, "max-age=60"), ("etag", "\"a\"")]), 60 + 86_400),
            (fields(&[(CC, "max-age=60, must-revalidate, stale-if-error=90")]), 60),
            (fields(&[(CC, "max-age=2147483648"), ("last-modified", "x")]), (1 << 31) + 86_400),
        ] {
            let policy = policy(&fields, RECEIVED * 1000, RECEIVED * 1000).unwrap();
            assert_eq!(policy.keep(), Duration::from_secs(seconds), "{fields:?}");
        }
    }

    #[test]
    fn a_policy_says_what_the_response_is() {
        assert!(of("max-age=60, public").is_public() && !of("max-age=60").is_public());
        let modified = [("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT".to_owned())];
        let guessed = policy(&modified, RECEIVED * 1000, RECEIVED * 1000).unwrap();
        assert!(guessed.has_validator() && !of("max-age=60").has_validator());
        assert_eq!(guessed.ttl(at(RECEIVED * 1000)), 24 * 60 * 60);
        assert_eq!(of("max-age=60").ttl(at(RECEIVED * 1000 + 72_000)), -12);
    }

    proptest! {
        #[test]
        fn ages_never_go_backwards(
            max_age in any::<u64>(), age in any::<u64>(), swr in any::<u64>(),
            asked in any::<u32>(), received in any::<u32>(),
            mut times in proptest::collection::vec(0..u64::MAX / 2_000, 2..6),
        ) {
            let cache_control = format!("max-age={max_age}, stale-while-revalidate={swr}");
            let fields = [("cache-control", cache_control), ("age", age.to_string())];
            let received = u64::from(received) * 1000;
            if let Some(policy) = policy(&fields, u64::from(asked) * 1000, received) {
                times.sort_unstable();
                let ages: Vec<_> = times.iter().map(|now| policy.age(at(*now))).collect();
                prop_assert!(ages.is_sorted());
                let least = age.min(u64::from(MAX_SECONDS));
                let between = |reached: &u32| {
                    least <= u64::from(*reached) && *reached <= MAX_SECONDS
                };
                prop_assert!(ages.iter().all(between));
                // Once it is not fresh any more, it stays so.
                let fresh = times.iter().map(|now| policy.late(at(*now)).is_none());
                let once = fresh.collect::<Vec<_>>().is_sorted_by(|before, after| before >= after);
                prop_assert!(once);
                // And what is used, is used within its time.
                for now in times {
                    match Demand::default().look_up(&policy, at(now)) {
                        Lookup::Fresh { age } => prop_assert!(u64::from(age) < max_age),
                        Lookup::Revalidating { age } => {
                            prop_assert!(u128::from(age) <= u128::from(max_age) + u128::from(swr));
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}

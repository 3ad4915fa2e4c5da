use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue};
use palisade_core::{RetryAfter, date_of};

use crate::{Allowance, Allowances};

/// The values of the fields that have one each, as text.
#[derive(Debug, Default)]
pub(crate) struct Plain<'h> {
    draft: Family<'h>,
    // With an `X-` before, and for X itself with a dash more.
    x: Family<'h>,
    reset_after: Option<&'h str>,
    calls: Option<&'h str>,
    bucket: Option<&'h str>,
    global: bool,
}

#[derive(Debug, Default)]
struct Family<'h> {
    limit: Option<&'h str>,
    remaining: Option<&'h str>,
    reset: Option<&'h HeaderValue>,
}

/// In which a bucket of Shopify's is empty again, whatever its size: 40 calls at
/// 2 in each second.
const SHOPIFY: Duration = Duration::from_secs(20);

/// Seconds since 1970 are more than this, and seconds to wait are less.
const YEAR_2001: Duration = Duration::from_secs(1_000_000_000);

impl<'h> Plain<'h> {
    /// Takes a field in.
    pub(crate) fn read(&mut self, name: &'h str, value: &'h HeaderValue) {
        let text = || value.to_str().ok().map(str::trim_ascii);
        // Of several lines the first one counts.
        let set = |place: &mut Option<&'h str>| *place = place.or_else(text);
        let (family, name) = match name.strip_prefix("x-") {
            None => (&mut self.draft, name),
            Some(name) => (&mut self.x, name),
        };
        match name {
            "ratelimit-limit" | "rate-limit-limit" => set(&mut family.limit),
            "ratelimit-remaining" | "rate-limit-remaining" => set(&mut family.remaining),
            "ratelimit-reset" | "rate-limit-reset" => {
                family.reset.get_or_insert(value);
            }
            "ratelimit-reset-after" => set(&mut self.reset_after),
            "ratelimit-resource" | "ratelimit-bucket" => {
                // What is longer is no name.
                let name = || text().filter(|name| (1..=256).contains(&name.len()));
                self.bucket = self.bucket.or_else(name);
            }
            "ratelimit-global" => {
                self.global = text().is_some_and(|text| text.eq_ignore_ascii_case("true"));
            }
            "shopify-shop-api-call-limit" => set(&mut self.calls),
            _ => {}
        }
    }

    /// Adds what is said, where nothing else was said before.
    pub(crate) fn add_to(
        self,
        found: &mut Allowances<'h>,
        headers: &HeaderMap,
        received: impl Fn() -> SystemTime,
    ) {
        (found.bucket, found.global) = (self.bucket, self.global);
        let now = || date_of(headers).unwrap_or_else(&received);
        let delta = self.reset_after.and_then(palisade_core::parse_seconds);
        let reset = || {
            let draft = self.draft.reset.and_then(|reset| read_reset(reset, now));
            draft.or(delta).or_else(|| read_reset(self.x.reset?, now))
        };
        if !found.is_empty() {
            let silent = found.list.iter_mut().filter(|quota| quota.reset.is_none());
            silent.for_each(|quota| quota.reset = reset());
            return;
        }
        let of = |draft: Option<&str>, x: Option<&str>| draft.and_then(count).or_else(|| count(x?));
        let quota = Allowance {
            name: self.bucket.map(Into::into),
            limit: of(self.draft.limit, self.x.limit),
            remaining: of(self.draft.remaining, self.x.remaining),
            reset: reset(),
            ..Allowance::default()
        };
        if quota.remaining.is_some() || quota.reset.is_some() {
            found.list.add(quota);
        } else if let Some(quota) = self.calls.and_then(read_calls) {
            found.list.add(quota);
        }
    }
}

/// The first number of a list: drafts before have the policies after it. Some
/// send decimals.
fn count(text: &str) -> Option<u64> {
    let first = text.split([',', ';', '.']).next()?.trim_ascii();
    // Less than nothing is nothing.
    match first.strip_prefix('-') {
        None => first.parse().ok(),
        Some(digits) => digits.parse::<u64>().ok().map(|_| 0),
    }
}

/// Seconds to wait, or a Unix time in seconds or a fraction of them, depending on
/// the service: its size tells which. Or a date.
fn read_reset(value: &HeaderValue, now: impl Fn() -> SystemTime) -> Option<Duration> {
    let reset = match RetryAfter::parse(value)? {
        RetryAfter::Delay(reset) => reset,
        date @ RetryAfter::At(_) => return Some(date.delay(now())),
    };
    if reset < YEAR_2001 {
        return Some(reset);
    }
    // Of milliseconds, or even less, there are a thousand times as many.
    let mut since_epoch = reset;
    while YEAR_2001 * 1000 <= since_epoch {
        since_epoch /= 1000;
    }
    let now = now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Some(since_epoch.saturating_sub(now))
}

/// `32/40`: so many used of so many.
fn read_calls<'h>(text: &str) -> Option<Allowance<'h>> {
    let (used, limit) = text.split_once('/')?;
    let (used, limit): (u64, u64) = (used.parse().ok()?, limit.parse().ok()?);
    Some(Allowance {
        limit: Some(limit),
        remaining: Some(limit.saturating_sub(used)),
        window: Some(SHOPIFY),
        ..Allowance::default()
    })
}

//! `Retry-After` with and without a `Date`. The input: a date on the first line, or nothing, and a
//! value on each of the others.

#![no_main]

use std::{
    cell::Cell,
    time::{Duration, SystemTime},
};

use http::{
    HeaderMap, HeaderValue,
    header::{DATE, RETRY_AFTER},
};
use libfuzzer_sys::fuzz_target;
use palisade_core::RetryAfter;

const RECEIVED: Duration = Duration::from_secs(1_800_000_000);

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let date = lines.next().unwrap_or_default();
    let values: Vec<_> = lines.filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();

    let received = SystemTime::UNIX_EPOCH + RECEIVED;
    let mut headers = HeaderMap::new();
    let mut sent = None;
    if let Ok(date) = HeaderValue::from_bytes(date) {
        let text = date.to_str().unwrap_or_default();
        sent = httpdate::parse_http_date(text).ok();
        headers.insert(DATE, date);
    }

    let mut longest = None;
    for value in &values {
        let parsed = RetryAfter::parse(value);
        check(value, parsed);
        longest = longest.max(parsed.map(|after| after.delay(sent.unwrap_or(received))));
        headers.append(RETRY_AFTER, value.clone());
    }
    let asked = Cell::new(false);
    let delay = RetryAfter::delay_of(&headers, || {
        asked.set(true);
        received
    });
    assert_eq!(delay, longest);
    assert!(!asked.get() || sent.is_none(), "the response has a date");
});

/// Checks a value against a second reading of the grammar.
fn check(value: &HeaderValue, parsed: Option<RetryAfter>) {
    let text = value.as_bytes().trim_ascii();
    match parsed {
        Some(RetryAfter::At(date)) => {
            let text = HeaderValue::try_from(httpdate::fmt_http_date(date)).unwrap();
            assert_eq!(RetryAfter::parse(&text), parsed);
        }
        Some(RetryAfter::Delay(delay)) => {
            assert_eq!(text.split(|byte| *byte == b',').map(seconds).max(), Some(delay));
        }
        None => assert!(text.is_empty() || !text.iter().all(u8::is_ascii_digit)),
    }
}

fn seconds(text: &[u8]) -> Duration {
    let text = text.trim_ascii();
    let point = text.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = text.split_at(point.unwrap_or(text.len()));
    let Some(seconds) = number(whole) else {
        return Duration::MAX;
    };
    let fraction = fraction.get(1..).unwrap_or_default();
    let nanos: Vec<_> = fraction.iter().chain(b"000000000").copied().take(9).collect();
    Duration::from_secs(seconds) + Duration::from_nanos(number(&nanos).unwrap())
}

/// The number that these digits are, unless it is too great.
fn number(digits: &[u8]) -> Option<u64> {
    assert!(digits.iter().all(u8::is_ascii_digit));
    digits.iter().try_fold(0_u64, |number, digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, header};

/// The value of a `Retry-After` field: RFC 9110, section 10.2.3.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use http::HeaderValue;
/// use palisade_core::RetryAfter;
///
/// let value = HeaderValue::from_static("120");
/// assert_eq!(RetryAfter::parse(&value), Some(RetryAfter::Delay(Duration::from_secs(120))));
///
/// let value = HeaderValue::from_static("Thu, 01 Jan 1970 00:01:00 GMT");
/// let delay = RetryAfter::parse(&value).map(|after| after.delay(SystemTime::UNIX_EPOCH));
/// assert_eq!(delay, Some(Duration::from_secs(60)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the grammar has these two")]
pub enum RetryAfter {
    /// So long after the response.
    Delay(Duration),
    /// At this time.
    At(SystemTime),
}

impl RetryAfter {
    /// Reads a value: seconds, or a date in any of the three formats of
    /// RFC 9110, section 5.6.7.
    ///
    /// Seconds too many for a [`Duration`] become the longest one. What the
    /// grammar does not know but servers and proxies send is read as well: a
    /// fraction, and several delays in a row, of which the longest counts.
    /// Everything else is `None`.
    pub fn parse(value: &HeaderValue) -> Option<Self> {
        let value = value.to_str().ok()?.trim_ascii();
        if let Ok(date) = httpdate::parse_http_date(value) {
            return Some(Self::At(date));
        }
        let delays = value.split(',').map(str::trim).filter(|delay| !delay.is_empty());
        let delays: Option<Vec<_>> = delays.map(parse_seconds).collect();
        delays?.into_iter().max().map(Self::Delay)
    }

    /// How long to wait from `now`; nothing, if the date is past.
    pub fn delay(self, now: SystemTime) -> Duration {
        match self {
            Self::Delay(delay) => delay,
            Self::At(date) => date.duration_since(now).unwrap_or_default(),
        }
    }

    /// How long the header fields of a response ask to wait.
    ///
    /// A date is taken relative to the response's own `Date`, so that a clock
    /// that is off, here or there, does not matter; `received` is asked only
    /// where there is none. Of several values the longest counts.
    pub fn delay_of(headers: &HeaderMap, received: impl Fn() -> SystemTime) -> Option<Duration> {
        let values = headers.get_all(header::RETRY_AFTER).iter();
        let delays = values.filter_map(Self::parse).map(|after| match after {
            Self::Delay(delay) => delay,
            Self::At(_) => after.delay(date_of(headers).unwrap_or_else(&received)),
        });
        delays.max()
    }
}

/// When a response was sent, by its `Date` field.
pub fn date_of(headers: &HeaderMap) -> Option<SystemTime> {
    let date = headers.get(header::DATE)?.to_str().ok()?;
    httpdate::parse_http_date(date).ok()
}

/// Reads decimal seconds, with or without a fraction; no sign, no exponent.
///
/// Too many seconds become [`Duration::MAX`]; digits after the ninth of the
/// fraction are dropped.
///
/// ```
/// use std::time::Duration;
/// use palisade_core::parse_seconds;
///
/// assert_eq!(parse_seconds("1.5"), Some(Duration::from_millis(1500)));
/// assert_eq!(parse_seconds("100000000000000000000"), Some(Duration::MAX));
/// assert_eq!(parse_seconds("-1"), None);
/// ```
pub fn parse_seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let Ok(seconds) = whole.parse() else {
        return Some(Duration::MAX);
    };
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    let nanos = digits.fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0'));
    Some(Duration::new(seconds, nanos))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn delay(fields: &[(&'static str, &'static str)]) -> Option<Duration> {
        let headers = headers(fields);
        RetryAfter::delay_of(&headers, || httpdate::parse_http_date(DATE).unwrap())
    }

    #[test]
    fn reads_every_form() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for (value, expected) in [
            ("0", seconds(0)),
            ("120", seconds(120)),
            (" 120 ", seconds(120)),
            ("0.25", Some(Duration::from_millis(250))),
            ("100000000000000000000", Some(Duration::MAX)),
            // IMF-fixdate, RFC 850 and asctime
            ("Sun, 06 Nov 1994 08:50:37 GMT", seconds(60)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", seconds(60)),
            ("Sun Nov  6 08:50:37 1994", seconds(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", seconds(0)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1e3", None),
            (".5", None),
            ("5.", None),
            ("soon", None),
            ("120, 7", seconds(120)),
            ("120,", seconds(120)),
            (",", None),
            ("120, soon", None),
            ("Sun, 06 Nov 1994 25:50:37 GMT", None),
        ] {
            assert_eq!(delay(&[("retry-after", value)]), expected, "{value:?}");
        }
        assert_eq!(delay(&[]), None);
    }

    #[test]
    fn a_date_counts_from_the_date_of_the_response() {
        let skewed = [
            ("date", "Sun, 06 Nov 1994 10:00:00 GMT"),
            ("retry-after", "Sun, 06 Nov 1994 10:00:07 GMT"),
        ];
        assert_eq!(delay(&skewed), Some(Duration::from_secs(7)));
        let undated = [("date", "junk"), ("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT")];
        assert_eq!(delay(&undated), Some(Duration::from_secs(10)));
    }

    #[test]
    fn the_longest_of_several_counts() {
        assert_eq!(
            delay(&[("retry-after", "1"), ("retry-after", "7")]),
            Some(Duration::from_secs(7))
        );
        assert_eq!(
            delay(&[("retry-after", "junk"), ("retry-after", "2")]),
            Some(Duration::from_secs(2))
        );
        let dates = [
            ("retry-after", "Sun, 06 Nov 1994 08:49:39 GMT"),
            ("retry-after", "Sun, 06 Nov 1994 08:49:38 GMT"),
        ];
        assert_eq!(delay(&dates), Some(Duration::from_secs(2)));
    }

    #[test]
    fn the_clock_is_read_only_where_it_decides() {
        for value in ["120", "junk"] {
            let fields = headers(&[("retry-after", value)]);
            RetryAfter::delay_of(&fields, || panic!("the clock was read"));
        }
        let fields = headers(&[("retry-after", DATE), ("date", DATE)]);
        RetryAfter::delay_of(&fields, || panic!("the clock was read"));
    }

    proptest! {
        #[test]
        fn seconds_survive_a_round_trip(seconds in any::<u64>(), nanos in 0..1_000_000_000_u32) {
            let delay = Duration::new(seconds, nanos);
            prop_assert_eq!(parse_seconds(&format!("{seconds}.{nanos:09}")), Some(delay));
        }

        #[test]
        fn any_value_is_read_without_a_panic(value in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let _ = RetryAfter::parse(&value).map(|after| after.delay(SystemTime::UNIX_EPOCH));
            }
        }

        #[test]
        fn dates_survive_a_round_trip(seconds in 0..253_402_300_799_u64) {
            let date = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            let value = HeaderValue::from_str(&httpdate::fmt_http_date(date)).unwrap();
            prop_assert_eq!(RetryAfter::parse(&value), Some(RetryAfter::At(date)));
        }
    }
}

//! Dates of HTTP, RFC 9110, section 5.6.7: in its three formats, in any case, and not otherwise.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};

const MONTHS: [&[u8; 3]; 12] = [
    b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec",
];

const DAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// What a field says that holds one date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dated {
    Absent,
    /// It is there, but no date, or it says two things.
    Invalid,
    At(SystemTime),
}

impl Dated {
    /// Reads a field. A year of two digits is the one that is nearest to `now`.
    pub(crate) fn of(headers: &HeaderMap, name: &HeaderName, now: SystemTime) -> Self {
        let mut lines = headers.get_all(name).iter();
        let Some(first) = lines.next() else {
            return Self::Absent;
        };
        // RFC 9110, section 5.5: of a field that stands alone, several lines are an error. The
        // same line twice says one thing.
        if lines.any(|line| line != first) {
            return Self::Invalid;
        }
        parse(first.as_bytes(), now).map_or(Self::Invalid, Self::At)
    }

    pub(crate) fn at(self) -> Option<SystemTime> {
        match self {
            Self::At(date) => Some(date),
            Self::Absent | Self::Invalid => None,
        }
    }
}

/// A date as it is sent: IMF-fixdate.
pub(crate) fn format(date: SystemTime) -> HeaderValue {
    // What the format cannot say, years before 1970 and after 9999, is said as far as it can.
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let since_epoch = date.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since_epoch.min(LAST));
    HeaderValue::try_from(text).expect("a date is ASCII")
}

/// Reads a date. Whether the weekday is that of the date does not matter; who
/// counts days wrong means the date.
pub(crate) fn parse(text: &[u8], now: SystemTime) -> Option<SystemTime> {
    let comma = text.iter().position(|byte| *byte == b',');
    match comma {
        // Sun, 06 Nov 1994 08:49:37 GMT
        Some(3) if is_day(&text[..3], 3) => {
            let [b' ', d1, d2, b' ', m1, m2, m3, b' ', y1, y2, y3, y4, b' ', time @ ..] =
                &text[4..]
            else {
                return None;
            };
            let year = number(&[*y1, *y2, *y3, *y4])?;
            at(year, &[*m1, *m2, *m3], number(&[*d1, *d2])?, strip_gmt(time)?)
        }
        // Sunday, 06-Nov-94 08:49:37 GMT
        Some(comma) if is_day(&text[..comma], usize::MAX) => {
            let [b' ', d1, d2, b'-', m1, m2, m3, b'-', y1, y2, b' ', time @ ..] =
                &text[comma + 1..]
            else {
                return None;
            };
            let (short, month, day) = (number(&[*y1, *y2])?, [*m1, *m2, *m3], [*d1, *d2]);
            let time = strip_gmt(time)?;
            let of = |year| at(year, &month, number(&day)?, time);
            of(full_year(short, now)?)
        }
        // Sun Nov  6 08:49:37 1994
        None if is_day(text.get(..3)?, 3) => {
            let [b' ', m1, m2, m3, b' ', d1, d2, b' ', rest @ ..] = &text[3..] else {
                return None;
            };
            let (time, year) = rest.split_at_checked(8)?;
            let year = number(year.strip_prefix(b" ").filter(|year| year.len() == 4)?)?;
            let day = if *d1 == b' ' { number(&[*d2])? } else { number(&[*d1, *d2])? };
            at(year, &[*m1, *m2, *m3], day, time)
        }
        _ => None,
    }
}

/// Whether it is the name of a weekday, cut after so many letters.
fn is_day(text: &[u8], letters: usize) -> bool {
    DAYS.iter().any(|day| day.as_bytes()[..day.len().min(letters)].eq_ignore_ascii_case(text))
}

fn strip_gmt(text: &[u8]) -> Option<&[u8]> {
    let (time, zone) = text.split_at_checked(8)?;
    zone.eq_ignore_ascii_case(b" GMT").then_some(time)
}

/// RFC 9110, section 5.6.7: a date that seems more than 50 years away in the
/// future is of the century before.
fn full_year(short: u64, now: SystemTime) -> Option<u64> {
    let days = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() / 86_400;
    // Within a day or so of the turn of a year; to be exact is to be more exact than the format.
    let this_year = 1970 + days * 400 / 146_097;
    let year = this_year / 100 * 100 + short;
    if this_year + 50 < year { year.checked_sub(100) } else { Some(year) }
}

fn at(year: u64, month: &[u8; 3], day: u64, time: &[u8]) -> Option<SystemTime> {
    let [h1, h2, b':', m1, m2, b':', s1, s2] = time else {
        return None;
    };
    let (hour, minute) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
    let second = number(&[*s1, *s2])?;
    let month = MONTHS.iter().position(|name| month.eq_ignore_ascii_case(*name))? as u64 + 1;
    // A second of 60 is a leap second.
    let in_range = year != 0 && day != 0 && day <= days_of(month, year) && hour < 24 && minute < 60;
    if !in_range || 60 < second {
        return None;
    }
    let seconds = hour * 3600 + minute * 60 + second;
    let days = days_since_epoch(year, month, day);
    let offset = |days: u64| Duration::from_secs(days * 86_400);
    let midnight = match u64::try_from(days) {
        Ok(days) => SystemTime::UNIX_EPOCH.checked_add(offset(days)),
        Err(_) => SystemTime::UNIX_EPOCH.checked_sub(offset(days.unsigned_abs())),
    };
    midnight?.checked_add(Duration::from_secs(seconds))
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'))
    })
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of(month: u64, year: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970 on, in the Gregorian calendar.
fn days_since_epoch(year: u64, month: u64, day: u64) -> i64 {
    const BEFORE_1970: i64 = 719_162;
    let before = year.saturating_sub(1);
    let in_years = before * 365 + before / 4 - before / 100 + before / 400;
    let in_months: u64 = (1..month).map(|month| days_of(month, year)).sum();
    (in_years + in_months + day - 1) as i64 - BEFORE_1970
}

#[cfg(test)]
mod tests {
    use http::header::EXPIRES;
    use proptest::prelude::*;

    use super::*;

    fn seconds(date: SystemTime) -> u64 {
        date.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
    }

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    #[test]
    fn reads_the_three_formats_in_any_case_and_nothing_else() {
        // What the suite calls expires-parse, and more of the kind.
        for (text, expected) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
            ("Sun Nov  6 08:49:37 1994", Some(784_111_777)),
            ("Sun Nov 16 08:49:37 1994", Some(784_975_777)),
            ("Tue, 19 Jan 2038 14:14:08 GMT", Some(2_147_523_248)),
            ("Sun, 21 Nov 2286 04:46:39 GMT", Some(10_000_039_599)),
            ("Thursday, 18-Aug-50 02:01:18 GMT", Some(2_544_400_878)),
            ("Thu Aug  8 02:01:18 2050", Some(2_543_536_878)),
            ("THU, 18 Aug 2050 02:01:18 GMT", Some(2_544_400_878)),
            ("Thu, 18 AUG 2050 02:01:18 GMT", Some(2_544_400_878)),
            ("Thu, 18 Aug 2050 02:01:18 gMT", Some(2_544_400_878)),
            ("Mon, 18 Aug 2050 02:01:18 GMT", Some(2_544_400_878)),
            ("Thu, 29 Feb 2024 23:59:60 GMT", Some(1_709_251_200)),
            ("Thu, 18 Aug 2050 02:01:18 UTC", None),
            ("Thu, 18 Aug 2050 02:01:18 AEST", None),
            ("Thu, 18 Aug 2050 02:01:18", None),
            ("Thu, 18 Aug 50 02:01:18 GMT", None),
            ("Thu 18 Aug 2050 02:01:18 GMT", None),
            ("Thu, 18  Aug  2050 02:01:18 GMT", None),
            ("Thu, 18-Aug-2050 02:01:18 GMT", None),
            ("Thu, 18 Aug 2050 02.01.18 GMT", None),
            ("Thu, 18 Aug 2050 2:01:18 GMT", None),
            ("Thu, 18 Aug 2050 24:00:00 GMT", None),
            ("Thu, 18 Aug 2050 02:60:18 GMT", None),
            ("Thu, 18 Aug 2050 02:01:61 GMT", None),
            ("Thu, 00 Aug 2050 02:01:18 GMT", None),
            ("Thu, 29 Feb 2023 02:01:18 GMT", None),
            ("Thu, 18 Aug 0000 02:01:18 GMT", None),
            ("Thu, 29 Feb 2100 02:01:18 GMT", None),
            ("Thu, 18 Foo 2050 02:01:18 GMT", None),
            ("Foo, 18 Aug 2050 02:01:18 GMT", None),
            ("Thu, 18 Aug 2050 02:01:18 GMT ", None),
            ("Thu, 18 Aug 2050 02:01:18 GMT+1", None),
            ("Thu Aug 18 02:01:18 50", None),
            ("Thu, +8 Aug 2050 02:01:18 GMT", None),
            ("0", None),
            ("-1", None),
            ("", None),
            ("foo", None),
        ] {
            assert_eq!(parse(text.as_bytes(), now()).map(seconds), expected, "{text:?}");
        }
    }

    #[test]
    fn two_digits_are_the_year_that_is_at_most_fifty_ahead() {
        let year = |date| seconds(date) / 31_556_952 + 1970;
        for (text, expected) in [
            ("Sunday, 06-Jul-27 08:49:37 GMT", 2027),
            ("Sunday, 06-Jul-77 08:49:37 GMT", 2077),
            ("Sunday, 06-Jul-78 08:49:37 GMT", 1978),
            ("Sunday, 06-Jul-99 08:49:37 GMT", 1999),
        ] {
            assert_eq!(parse(text.as_bytes(), now()).map(year), Some(expected), "{text}");
        }
    }

    #[test]
    fn lines_that_differ_are_no_date() {
        const DATE: &str = "Thu, 18 Aug 2050 02:01:18 GMT";
        for (lines, expected) in [
            (&[][..], Dated::Absent),
            (&[DATE], parse(DATE.as_bytes(), now()).map_or(Dated::Invalid, Dated::At)),
            (&[DATE, DATE], parse(DATE.as_bytes(), now()).map_or(Dated::Invalid, Dated::At)),
            (&[DATE, "Thu, 18 Aug 2050 02:01:19 GMT"], Dated::Invalid),
            (&["0"], Dated::Invalid),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(EXPIRES, HeaderValue::from_static(line));
            }
            let dated = Dated::of(&headers, &EXPIRES, now());
            assert_eq!(dated, expected, "{lines:?}");
            assert_eq!(dated.at().is_some(), matches!(expected, Dated::At(_)));
        }
    }

    proptest! {
        #[test]
        fn dates_survive_a_round_trip(since_epoch in 0..253_402_300_799_u64) {
            let date = SystemTime::UNIX_EPOCH + Duration::from_secs(since_epoch);
            prop_assert_eq!(parse(format(date).as_bytes(), now()), Some(date));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(
            text in proptest::collection::vec(any::<u8>(), 0..40),
            seconds in any::<u32>(),
        ) {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(seconds));
            let _ = parse(&text, now);
        }

        #[test]
        fn what_is_almost_a_date_is_read_without_a_panic(
            text in "(Sun|Sunday),? [0-9]{1,2}[ -](Feb|nov)[ -][0-9]{2,4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
        ) {
            // Where the two read a date, it is the same one.
            let ours = parse(text.as_bytes(), now());
            let theirs = httpdate::parse_http_date(&text).ok().filter(|_| !text.starts_with("Sunday"));
            if let (Some(ours), Some(theirs)) = (ours, theirs) {
                prop_assert_eq!(ours, theirs);
            }
        }
    }
}

//! Ranges of bytes: RFC 9110, section 14, and what a cache may make of them.

use std::time::SystemTime;

use http::{
    HeaderMap, HeaderValue,
    header::{CONTENT_RANGE, DATE, IF_RANGE, LAST_MODIFIED, RANGE},
};

use super::{
    date::{self, Dated},
    etag::EntityTag,
    list,
};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// All of it. So does a range that cannot be read.
    Whole,
    One(ByteRange),
    /// Several ranges, or some in another unit: the origin may know what to do.
    Other,
}

/// One range that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteRange {
    /// From the first byte on to the last one, which is included.
    From { first: u64, last: Option<u64> },
    /// The last so many bytes.
    Suffix(u64),
}

/// Some bytes, both ends included: there is no empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Asked {
    /// Reads `Range`.
    pub(crate) fn of(request: &HeaderMap) -> Self {
        let mut lines = request.get_all(RANGE).iter();
        let Some(line) = lines.next() else {
            return Self::Whole;
        };
        if lines.next().is_some() {
            return Self::Other;
        }
        let (unit, ranges) = list::name_and_value(list::trim(line.as_bytes()));
        let Some(ranges) = ranges else {
            return Self::Whole;
        };
        if !unit.eq_ignore_ascii_case(b"bytes") {
            return Self::Other;
        }
        let mut ranges = list::split(ranges, b',');
        match (ranges.next(), ranges.next()) {
            (Some(range), None) => ByteRange::parse(range).map_or(Self::Whole, Self::One),
            (Some(_), Some(_)) => Self::Other,
            (None, _) => Self::Whole,
        }
    }
}

impl ByteRange {
    fn parse(text: &[u8]) -> Option<Self> {
        let dash = text.iter().position(|byte| *byte == b'-')?;
        match (&text[..dash], &text[dash + 1..]) {
            ([], suffix) => Some(Self::Suffix(number(suffix)?)),
            (first, []) => Some(Self::From { first: number(first)?, last: None }),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From { first, last: Some(last) })
            }
        }
    }

    /// The bytes of so many that it asks for, if there are any.
    pub(crate) fn within(self, length: u64) -> Option<Slice> {
        let end = length.checked_sub(1)?;
        let (first, last) = match self {
            Self::From { first, last } => (first, last.map_or(end, |last| last.min(end))),
            Self::Suffix(count) => (length.saturating_sub(count), end),
        };
        (first <= end).then_some(Slice { first, last })
    }
}

impl Slice {
    /// Reads `Content-Range`: the bytes, and how many there are in all, if that
    /// is known. Nothing for what is not satisfied, or makes no sense.
    pub(crate) fn of(response: &HeaderMap) -> Option<(Self, Option<u64>)> {
        let mut lines = response.get_all(CONTENT_RANGE).iter();
        let line = list::trim(lines.next()?.as_bytes());
        if lines.next().is_some() {
            return None;
        }
        let (unit, rest) = line.split_at_checked(6)?;
        if !unit.eq_ignore_ascii_case(b"bytes ") {
            return None;
        }
        let slash = rest.iter().position(|byte| *byte == b'/')?;
        let (range, length) = (&rest[..slash], &rest[slash + 1..]);
        let dash = range.iter().position(|byte| *byte == b'-')?;
        let slice = Self { first: number(&range[..dash])?, last: number(&range[dash + 1..])? };
        let length = if length == b"*" { None } else { Some(number(length)?) };
        let sane = slice.first <= slice.last && length.is_none_or(|length| slice.last < length);
        // So that the length of what is held is a number too.
        (sane && slice.last < u64::MAX).then_some((slice, length))
    }

    pub(crate) fn len(self) -> u64 {
        self.last - self.first + 1
    }

    pub(crate) fn contains(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// The value of `Content-Range`.
    pub(crate) fn content_range(self, length: Option<u64>) -> HeaderValue {
        let text = match length {
            Some(length) => format!("bytes {}-{}/{length}", self.first, self.last),
            None => format!("bytes {}-{}/*", self.first, self.last),
        };
        HeaderValue::try_from(text).expect("it is ASCII")
    }
}

/// What a cache that holds all of a body answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// 200, or whatever the stored status is.
    Whole,
    /// 206, with these bytes.
    Part(Slice),
    /// 416, and how long it is.
    Unsatisfiable,
    /// The origin is asked.
    Forward,
}

impl Plan {
    /// For a request and a stored response with a complete body of so many bytes.
    ///
    /// `If-Range` is obeyed. The method is taken to be GET, and the status 200:
    /// for others no range has a meaning.
    pub(crate) fn of(
        request: &HeaderMap,
        stored: &HeaderMap,
        length: u64,
        now: SystemTime,
    ) -> Self {
        let range = match Asked::of(request) {
            Asked::Whole => return Self::Whole,
            Asked::Other => return Self::Forward,
            Asked::One(range) => range,
        };
        if !if_range_holds(request, stored, now) {
            return Self::Whole;
        }
        range.within(length).map_or(Self::Unsatisfiable, Self::Part)
    }
}

/// The `Content-Range` of a 416.
pub(crate) fn unsatisfied(length: u64) -> HeaderValue {
    HeaderValue::try_from(format!("bytes */{length}")).expect("it is ASCII")
}

/// RFC 9110, section 13.1.5: whether a range is still a range of the same bytes.
/// Without the field it is.
pub(crate) fn if_range_holds(request: &HeaderMap, stored: &HeaderMap, now: SystemTime) -> bool {
    let mut lines = request.get_all(IF_RANGE).iter();
    let Some(line) = lines.next() else {
        return true;
    };
    if lines.next().is_some() {
        return false;
    }
    let text = list::trim(line.as_bytes());
    if let Some(date) = date::parse(text, now) {
        return is_strong_date(stored, now) == Some(date);
    }
    let pair = EntityTag::parse(text).zip(EntityTag::of(stored));
    pair.is_some_and(|(asked, stored)| asked.strong_eq(stored))
}

/// RFC 9110, section 8.8.2.2: a time of change is strong if the response is at
/// least a second younger.
pub(crate) fn is_strong_date(stored: &HeaderMap, now: SystemTime) -> Option<SystemTime> {
    let modified = Dated::of(stored, &LAST_MODIFIED, now).at()?;
    let sent = Dated::of(stored, &DATE, now).at()?;
    let between = sent.duration_since(modified).ok()?;
    (between.as_secs() != 0).then_some(modified)
}

/// Digits alone, and not too many.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    #[test]
    fn a_range_of_a_complete_body_is_cut_out() {
        let part = |first, last| Plan::Part(Slice { first, last });
        for (range, length, expected) in [
            ("bytes=0-1", 11, part(0, 1)),
            ("bytes=1-", 11, part(1, 10)),
            ("bytes=-1", 11, part(10, 10)),
            ("bytes=-99", 11, part(0, 10)),
            ("bytes=5-99", 11, part(5, 10)),
            ("bytes=10-10", 11, part(10, 10)),
            ("Bytes= 0-1 ,", 11, part(0, 1)),
            ("bytes=0-18446744073709551615", 11, part(0, 10)),
            ("bytes=11-", 11, Plan::Unsatisfiable),
            ("bytes=-0", 11, Plan::Unsatisfiable),
            ("bytes=0-", 0, Plan::Unsatisfiable),
            ("bytes=-1", 0, Plan::Unsatisfiable),
            ("bytes=0-1, 3-4", 11, Plan::Forward),
            ("lines=0-1", 11, Plan::Forward),
            ("bytes=2-1", 11, Plan::Whole),
            ("bytes=a-b", 11, Plan::Whole),
            ("bytes=-", 11, Plan::Whole),
            ("bytes=1", 11, Plan::Whole),
            ("bytes=", 11, Plan::Whole),
            ("bytes=0-99999999999999999999999", 11, Plan::Whole),
            ("bytes", 11, Plan::Whole),
            ("", 11, Plan::Whole),
        ] {
            let plan = Plan::of(&headers(&[("range", range)]), &HeaderMap::new(), length, NOW);
            assert_eq!(plan, expected, "{range:?} of {length}");
        }
        assert_eq!(Plan::of(&HeaderMap::new(), &HeaderMap::new(), 0, NOW), Plan::Whole);
        let two = headers(&[("range", "bytes=0-1"), ("range", "bytes=2-3")]);
        assert_eq!(Plan::of(&two, &HeaderMap::new(), 11, NOW), Plan::Forward);
    }

    #[test]
    fn if_range_asks_for_all_of_what_has_changed() {
        const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
        const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
        for (if_range, stored, holds) in [
            ("\"a\"", &[("etag", "\"a\"")][..], true),
            ("\"a\"", &[("etag", "\"b\"")], false),
            ("W/\"a\"", &[("etag", "W/\"a\"")], false),
            ("\"a\"", &[("etag", "W/\"a\"")], false),
            ("\"a\"", &[], false),
            (THEN, &[("last-modified", THEN), ("date", LATER)], true),
            (THEN, &[("last-modified", THEN), ("date", THEN)], false),
            (THEN, &[("last-modified", THEN)], false),
            (LATER, &[("last-modified", THEN), ("date", LATER)], false),
            ("junk", &[("etag", "junk")], false),
        ] {
            let request = headers(&[("range", "bytes=0-0"), ("if-range", if_range)]);
            let expected =
                if holds { Plan::Part(Slice { first: 0, last: 0 }) } else { Plan::Whole };
            let plan = Plan::of(&request, &headers(stored), 3, NOW);
            assert_eq!(plan, expected, "{if_range:?} {stored:?}");
        }
    }

    #[test]
    fn content_range_is_read_and_written() {
        for (text, expected) in [
            ("bytes 4-9/10", Some((4, 9, Some(10)))),
            ("bytes 0-0/*", Some((0, 0, None))),
            ("Bytes 0-0/1", Some((0, 0, Some(1)))),
            ("bytes 4-10/10", None),
            ("bytes 5-4/10", None),
            ("bytes */10", None),
            ("bytes 0-18446744073709551615/*", None),
            ("bytes 0-0", None),
            ("bytes=0-0/1", None),
            ("lines 0-0/1", None),
            ("bytes 0 - 0/1", None),
            ("", None),
        ] {
            let read = Slice::of(&headers(&[("content-range", text)]));
            let flat = read.map(|(slice, length)| (slice.first, slice.last, length));
            assert_eq!(flat, expected, "{text:?}");
            if let Some((slice, length)) = read {
                assert_eq!(slice.content_range(length), text.to_lowercase());
            }
        }
        let two = headers(&[("content-range", "bytes 0-0/1"), ("content-range", "bytes 0-0/1")]);
        assert_eq!(Slice::of(&two), None);
        assert_eq!(unsatisfied(7), "bytes */7");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            value in proptest::collection::vec(any::<u8>(), 0..40),
            length in any::<u64>(),
        ) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let mut headers = HeaderMap::new();
                for name in [RANGE, CONTENT_RANGE, IF_RANGE] {
                    headers.insert(name, value.clone());
                }
                let _ = (Plan::of(&headers, &headers, length, NOW), Slice::of(&headers));
            }
        }

        #[test]
        fn what_is_cut_out_is_within(
            first in proptest::option::of(0..20_u64), last in proptest::option::of(0..30_u64),
            length in 0..20_u64,
        ) {
            let text = |number: Option<u64>| number.map_or(String::new(), |it| it.to_string());
            let range = format!("bytes={}-{}", text(first), text(last));
            let plan = Plan::of(&headers(&[("range", &range)]), &HeaderMap::new(), length, NOW);
            if let Plan::Part(slice) = plan {
                prop_assert!(slice.first <= slice.last && slice.last < length);
                prop_assert!(slice.len() <= length);
            }
        }
    }
}

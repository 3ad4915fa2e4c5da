//! Stored parts of a response: RFC 9111, sections 3.3 and 3.4.

mod wire;

use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, header::CONTENT_ENCODING};

use super::{
    etag::EntityTag,
    list,
    range::{self, Asked, ByteRange, Slice},
};

/// Bytes of a representation that a cache holds: the body of a 206.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The range that was asked for.
    asked: Option<ByteRange>,
    /// What the response says that it holds.
    said: Slice,
    /// What it does hold. One that is shorter than it says is a start.
    held: Slice,
    /// How long the whole is, if that is known.
    length: Option<u64>,
}

impl Part {
    /// Of the request, the 206 and the length of its body. Nothing, if it does not
    /// say which part it is, is empty, or longer than it says.
    pub(crate) fn of(request: &HeaderMap, response: &HeaderMap, body: u64) -> Option<Self> {
        let (said, length) = Slice::of(response)?;
        let last = said.first.checked_add(body.checked_sub(1)?)?;
        let asked = match Asked::of(request) {
            Asked::One(range) => Some(range),
            Asked::Whole | Asked::Other => None,
        };
        let held = Slice { first: said.first, last };
        said.contains(held).then_some(Self { asked, said, held, length })
    }

    /// Whether it holds all of what it says: only then can it be combined.
    pub(crate) fn is_sound(&self) -> bool {
        self.said == self.held
    }

    /// Whether it is the whole after all, and can be stored as a 200.
    pub(crate) fn is_complete(&self) -> bool {
        self.held.first == 0 && self.length == Some(self.held.len())
    }

    /// The bytes that are held.
    pub(crate) fn held(&self) -> Slice {
        self.held
    }

    /// What is answered to a request with a 206: which bytes of the whole. They
    /// start in the stored body as far on as they do after those that are
    /// [held](Self::held). Nothing, if the origin has to be asked.
    pub(crate) fn answer(
        &self,
        request: &HeaderMap,
        stored: &HeaderMap,
        now: SystemTime,
    ) -> Option<Slice> {
        let Asked::One(range) = Asked::of(request) else {
            return None;
        };
        if !range::if_range_holds(request, stored, now) {
            return None;
        }
        // The origin answered this very range with it.
        if self.asked == Some(range) {
            return Some(self.held);
        }
        let wanted = match (self.length, range) {
            (Some(length), range) => range.within(length)?,
            (None, ByteRange::From { first, last: Some(last) }) => Slice { first, last },
            (None, _) => return None,
        };
        let cut = Slice { first: wanted.first, last: wanted.last.min(self.held.last) };
        (self.said.contains(wanted) && cut.first <= cut.last).then_some(cut)
    }

    /// The `Content-Range` of some of the bytes.
    pub(crate) fn content_range(&self, slice: Slice) -> HeaderValue {
        slice.content_range(self.length)
    }

    /// The one range that is missing to the whole, as a value of `Range`. A request
    /// for it needs `If-Range` with a strong validator, or else what comes [must
    /// not be combined](may_combine).
    pub(crate) fn missing(&self) -> Option<HeaderValue> {
        let length = self.length?;
        let text = match (self.held.first, self.held.last + 1) {
            (0, end) if end < length => format!("bytes={end}-"),
            (first, end) if first != 0 && end == length => format!("bytes=0-{}", first - 1),
            _ => return None,
        };
        Some(HeaderValue::try_from(text).expect("it is ASCII"))
    }

    /// Both as one part, if no byte is missing between them.
    pub(crate) fn combine(&self, other: &Self) -> Option<Self> {
        let (one, two) = (self.held, other.held);
        let near = one.first <= two.last + 1 && two.first <= one.last + 1;
        let length = match (self.length, other.length) {
            (Some(one), Some(two)) if one != two => return None,
            (one, two) => one.or(two),
        };
        let held = Slice { first: one.first.min(two.first), last: one.last.max(two.last) };
        let sane = near && self.is_sound() && other.is_sound();
        let fits = length.is_none_or(|length| held.last < length);
        (sane && fits).then_some(Self { asked: None, said: held, held, length })
    }
}

/// Whether a stored part and the rest that has come are of the same bytes: RFC 9110,
/// section 15.3.7.3. Only an equal strong entity tag says so, and only if the rest
/// does not say that it is coded in another way.
pub(crate) fn may_combine(stored: &HeaderMap, rest: &HeaderMap) -> bool {
    let tags = EntityTag::of(stored).zip(EntityTag::of(rest));
    let same = tags.is_some_and(|(stored, rest)| stored.strong_eq(rest));
    // RFC 9110, section 15.3.7: what was asked for by If-Range need not say it again.
    same && (!rest.contains_key(CONTENT_ENCODING) || codings(stored).eq(codings(rest)))
}

/// The names of codings, which are compared in any case, and of which some have another from
/// earlier times: RFC 9110, section 8.4.1.
fn codings(headers: &HeaderMap) -> impl Iterator<Item = Vec<u8>> {
    list::members(headers, &CONTENT_ENCODING).map(|coding| match coding.to_ascii_lowercase() {
        coding if coding == b"x-gzip" || coding == b"x-compress" => coding[2..].to_vec(),
        coding => coding,
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
            headers.append(HeaderName::from_static(name), HeaderValue::try_from(*value).unwrap());
        }
        headers
    }

    fn part(asked: &str, content_range: &str, body: u64) -> Option<Part> {
        let request = headers(&[("range", asked)]);
        Part::of(&request, &headers(&[("content-range", content_range)]), body)
    }

    #[test]
    fn a_part_answers_what_it_holds() {
        // The first rows are those of the suite, whose parts are shorter than they say.
        for (asked, content_range, body, wanted, expected) in [
            ("bytes=-5", "bytes 4-9/10", 5, "bytes=-5", Some((4, 8))),
            ("bytes=-5", "bytes 4-9/10", 5, "bytes=6-8", Some((6, 8))),
            ("bytes=-5", "bytes 4-9/10", 5, "bytes=6-", Some((6, 8))),
            ("bytes=-5", "bytes 4-9/10", 5, "bytes=-1", None),
            ("bytes=0-4", "bytes 0-4/10", 5, "bytes=1-2", Some((1, 2))),
            ("bytes=0-4", "bytes 0-4/10", 5, "bytes=4-4", Some((4, 4))),
            ("bytes=0-4", "bytes 0-4/10", 5, "bytes=4-5", None),
            ("bytes=0-4", "bytes 0-4/10", 5, "bytes=0-", None),
            ("bytes=0-4", "bytes 0-4/10", 5, "bytes=11-", None),
            ("bytes=5-", "bytes 5-9/10", 5, "bytes=-3", Some((7, 9))),
            ("bytes=5-", "bytes 5-9/10", 5, "bytes=7-99", Some((7, 9))),
            ("bytes=0-4", "bytes 0-4/*", 5, "bytes=1-2", Some((1, 2))),
            ("bytes=0-4", "bytes 0-4/*", 5, "bytes=1-", None),
            ("bytes=0-4", "bytes 0-4/*", 5, "bytes=-1", None),
            ("bytes=0-4", "bytes 0-4/10", 5, "bytes=0-0, 2-2", None),
            ("bytes=0-4", "bytes 0-4/10", 5, "", None),
        ] {
            let part = part(asked, content_range, body).unwrap();
            let answer = part.answer(
                &headers(&[("range", wanted)]),
                &HeaderMap::new(),
                SystemTime::UNIX_EPOCH,
            );
            let flat = answer.map(|slice| (slice.first, slice.last));
            assert_eq!(flat, expected, "{content_range:?} {wanted:?}");
        }
        for (content_range, body) in [("bytes 0-4/10", 6), ("bytes 0-4/10", 0), ("bytes */10", 5)] {
            assert_eq!(part("bytes=0-4", content_range, body), None);
        }
    }

    #[test]
    fn a_part_is_not_answered_to_who_has_another_one() {
        let part = part("bytes=0-4", "bytes 0-4/10", 5).unwrap();
        for (stored, expected) in [("\"a\"", true), ("\"b\"", false), ("W/\"a\"", false)] {
            let request = headers(&[("range", "bytes=0-4"), ("if-range", "\"a\"")]);
            let stored = headers(&[("etag", stored)]);
            let answer = part.answer(&request, &stored, SystemTime::UNIX_EPOCH);
            assert_eq!(answer.is_some(), expected, "{stored:?}");
        }
    }

    #[test]
    fn a_part_knows_what_is_missing() {
        for (content_range, expected) in [
            ("bytes 0-4/10", Some("bytes=5-")),
            ("bytes 5-9/10", Some("bytes=0-4")),
            ("bytes 3-7/10", None),
            ("bytes 0-4/5", None),
            ("bytes 0-4/*", None),
        ] {
            let missing = part("", content_range, 5).unwrap().missing();
            let missing = missing.as_ref().map(|value| value.to_str().unwrap());
            assert_eq!(missing, expected, "{content_range:?}");
        }
    }

    #[test]
    fn parts_are_combined_where_none_is_missing_between() {
        for (one, other, expected) in [
            ("bytes 0-4/10", "bytes 5-9/10", Some("bytes 0-9/10")),
            ("bytes 5-9/10", "bytes 0-4/10", Some("bytes 0-9/10")),
            ("bytes 0-4/10", "bytes 3-7/*", Some("bytes 0-7/10")),
            ("bytes 0-4/10", "bytes 6-9/10", None),
            ("bytes 0-4/10", "bytes 5-9/11", None),
            ("bytes 0-4/5", "bytes 5-9/*", None),
        ] {
            let whole = |text| {
                let said = Slice::of(&headers(&[("content-range", text)])).unwrap().0;
                part("", text, said.len()).unwrap()
            };
            let both = whole(one).combine(&whole(other));
            let text = both.map(|both| both.content_range(both.held()));
            assert_eq!(text.as_ref().map(|text| text.to_str().unwrap()), expected, "{one} {other}");
            let complete = both.is_some_and(|both| both.is_complete());
            assert_eq!(complete, expected == Some("bytes 0-9/10"));
        }
        let short = part("", "bytes 0-4/10", 4).unwrap();
        let rest = part("", "bytes 4-9/10", 6).unwrap();
        assert_eq!((short.combine(&rest), rest.combine(&short)), (None, None));
    }

    #[test]
    fn only_an_equal_strong_tag_joins_parts() {
        for (one, other, expected) in [
            (Some("\"a\""), Some("\"a\""), true),
            (Some("\"a\""), Some("\"b\""), false),
            (Some("W/\"a\""), Some("W/\"a\""), false),
            (Some("\"a\""), None, false),
            (None, None, false),
        ] {
            let tagged = |tag: Option<&str>| {
                headers(&tag.map(|tag| vec![("etag", tag)]).unwrap_or_default())
            };
            assert_eq!(may_combine(&tagged(one), &tagged(other)), expected, "{one:?} {other:?}");
        }
    }

    // What is compressed and what is not may have one tag, by mistake.
    #[test]
    fn parts_of_other_codings_are_not_joined() {
        let tag = [("etag", "\"a\"")];
        let coded = |lines: &[&'static str]| {
            let lines = lines.iter().map(|line| ("content-encoding", *line));
            headers(&tag.into_iter().chain(lines).collect::<Vec<_>>())
        };
        for (stored, rest, expected) in [
            (&["gzip"][..], &["gzip"][..], true),
            (&["gzip"], &["GZip"], true),
            (&["gzip"], &["x-gzip"], true),
            (&["gzip, br"], &["gzip", "br"], true),
            // It is known what coding it has that was asked for by If-Range.
            (&["gzip"], &[], true),
            (&["gzip"], &["br"], false),
            (&["gzip"], &["gzip, br"], false),
            (&["gzip, br"], &["br, gzip"], false),
            (&["gzip"], &["identity"], false),
            (&[], &["gzip"], false),
            (&["gzip", "br"], &["gzip"], false),
        ] {
            let may = may_combine(&coded(stored), &coded(rest));
            assert_eq!(may, expected, "{stored:?} {rest:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_answered_is_held(
            first in 0..20_u64, len in 1..20_u64, body in 1..20_u64, total in 1..40_u64,
            from in proptest::option::of(0..40_u64), to in proptest::option::of(0..40_u64),
        ) {
            let content_range = format!("bytes {first}-{}/{total}", first + len - 1);
            let text = |number: Option<u64>| number.map_or(String::new(), |it| it.to_string());
            let range = format!("bytes={}-{}", text(from), text(to));
            if let Some(part) = part("bytes=0-0", &content_range, body) {
                let request = headers(&[("range", &range)]);
                let answer = part.answer(&request, &request, SystemTime::UNIX_EPOCH);
                prop_assert!(answer.is_none_or(|slice| part.held().contains(slice)));
            }
        }
    }
}

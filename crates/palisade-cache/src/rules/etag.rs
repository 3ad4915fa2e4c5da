//! Entity tags and their comparison: RFC 9110, section 8.8.3.

use http::{HeaderMap, HeaderName, header::ETAG};

use super::list;

/// An entity tag. One that has no quotes is kept as it is, for servers that send
/// such mean it; it is never strong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntityTag<'h> {
    weak: bool,
    opaque: &'h [u8],
}

/// Whether a list of tags has a certain one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// There is no such field.
    Absent,
    No,
    /// The tag, or the `*` that stands for any.
    Yes,
}

impl<'h> EntityTag<'h> {
    /// Of a response. Lines that differ are no tag.
    pub(crate) fn of(headers: &'h HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(ETAG).iter();
        let first = lines.next()?;
        if lines.any(|line| line != first) {
            return None;
        }
        Self::parse(list::trim(first.as_bytes()))
    }

    pub(crate) fn parse(text: &'h [u8]) -> Option<Self> {
        let (weak, opaque) = match text.strip_prefix(b"W/") {
            Some(opaque) => (true, opaque),
            None => (false, text),
        };
        (!opaque.is_empty()).then_some(Self { weak, opaque })
    }

    pub(crate) fn is_strong(self) -> bool {
        !self.weak && list::tags(self.opaque).count() == 1 && self.is_quoted()
    }

    /// Equal for what must be the same byte by byte.
    pub(crate) fn strong_eq(self, other: EntityTag<'_>) -> bool {
        self.is_strong() && other.is_strong() && self.opaque == other.opaque
    }

    /// Equal for what may be used in place of the other.
    pub(crate) fn weak_eq(self, other: EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }

    fn is_quoted(self) -> bool {
        match self.opaque {
            [b'"', inner @ .., b'"'] => !inner.contains(&b'"'),
            _ => false,
        }
    }
}

/// Looks for a tag in a field that lists some, by the weak comparison. Without a
/// tag only a `*` is found.
pub(crate) fn find(headers: &HeaderMap, name: &HeaderName, tag: Option<EntityTag<'_>>) -> Match {
    let mut lines = headers.get_all(name).iter().peekable();
    if lines.peek().is_none() {
        return Match::Absent;
    }
    let mut listed = lines.flat_map(|line| list::tags(line.as_bytes()));
    let found = listed.any(|text| {
        let same = |tag| EntityTag::parse(text).is_some_and(|listed| listed.weak_eq(tag));
        text == b"*" || tag.is_some_and(same)
    });
    if found { Match::Yes } else { Match::No }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header::IF_NONE_MATCH};

    use super::*;

    #[test]
    fn tags_are_compared_strongly_and_weakly() {
        for (one, other, strong, weak) in [
            (r#"W/"1""#, r#"W/"1""#, false, true),
            (r#"W/"1""#, r#"W/"2""#, false, false),
            (r#"W/"1""#, r#""1""#, false, true),
            (r#""1""#, r#""1""#, true, true),
            (r#""1""#, r#""2""#, false, false),
            (r#""a,b\""#, r#""a,b\""#, true, true),
            ("1", "1", false, true),
            ("1", r#""1""#, false, false),
            (r#"w/"1""#, r#"w/"1""#, false, true),
            (r#"w/"1""#, r#""1""#, false, false),
            (r#""a"b""#, r#""a"b""#, false, true),
        ] {
            let tag = |text: &'static str| EntityTag::parse(text.as_bytes()).unwrap();
            assert_eq!(tag(one).strong_eq(tag(other)), strong, "{one} {other}");
            assert_eq!(tag(one).weak_eq(tag(other)), weak, "{one} {other}");
        }
        assert_eq!(EntityTag::parse(b""), None);
        assert_eq!(EntityTag::parse(b"W/"), None);
    }

    #[test]
    fn a_tag_is_found_in_a_list() {
        let tag = EntityTag::parse(br#""abcdef""#);
        for (lines, expected, without) in [
            (&[][..], Match::Absent, Match::Absent),
            (&[r#""abcdef""#], Match::Yes, Match::No),
            (&[r#"W/"abcdef""#], Match::Yes, Match::No),
            (&[r#""abcdef", "1234", "5678""#], Match::Yes, Match::No),
            (&[r#""1234", "abcdef", "5678""#], Match::Yes, Match::No),
            (&[r#""1234","5678","abcdef""#], Match::Yes, Match::No),
            (&[r#""1234""#, r#" "abcdef" "#], Match::Yes, Match::No),
            (&[r#""\", "abcdef""#], Match::Yes, Match::No),
            (&[r#""1234, "abcdef""#], Match::No, Match::No),
            (&["*"], Match::Yes, Match::Yes),
            (&["abcdef"], Match::No, Match::No),
            (&[""], Match::No, Match::No),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(IF_NONE_MATCH, HeaderValue::from_static(line));
            }
            assert_eq!(find(&headers, &IF_NONE_MATCH, tag), expected, "{lines:?}");
            assert_eq!(find(&headers, &IF_NONE_MATCH, None), without, "{lines:?}");
        }
    }

    #[test]
    fn a_tag_may_hold_obs_text_but_not_be_two() {
        let mut headers = HeaderMap::new();
        let tag = HeaderValue::from_bytes("\"abcdef\u{fc}\"".as_bytes()).unwrap();
        headers.insert(ETAG, tag.clone());
        headers.insert(IF_NONE_MATCH, tag.clone());
        assert_eq!(find(&headers, &IF_NONE_MATCH, EntityTag::of(&headers)), Match::Yes);
        assert!(EntityTag::of(&headers).unwrap().is_strong());
        headers.append(ETAG, tag);
        assert!(EntityTag::of(&headers).is_some());
        headers.append(ETAG, HeaderValue::from_static("\"other\""));
        assert_eq!(EntityTag::of(&headers), None);
    }
}

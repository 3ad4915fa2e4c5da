//! How what is stored is updated by a 304, and by an answer to HEAD: RFC 9111, sections 3.2 and 4.3.

use std::time::SystemTime;

use http::{
    HeaderMap, HeaderName, StatusCode,
    header::{
        AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, LAST_MODIFIED, SET_COOKIE,
    },
};

use super::{
    directives::response::{Listed, ResponseDirectives},
    etag::EntityTag,
    fields::{strip_connection, to_stored},
    options::Options,
    range,
};

/// Whether a 304 is about this stored response: RFC 9111, section 4.3.4.
///
/// `sole` says that the request named no other one, so that a 304 without a
/// validator is about it. Where several have a weak tag, the newest is meant.
pub(crate) fn is_about(not_modified: &HeaderMap, stored: &HeaderMap, sole: bool) -> bool {
    if let Some(tag) = EntityTag::of(not_modified) {
        let kept = EntityTag::of(stored);
        return kept.is_some_and(|kept| match tag.is_strong() {
            true => tag.strong_eq(kept),
            false => tag.weak_eq(kept),
        });
    }
    match not_modified.get(LAST_MODIFIED) {
        Some(modified) => stored.get(LAST_MODIFIED) == Some(modified),
        None => sole,
    }
}

/// Whether a 304 or an answer to HEAD is for all, whoever asked: it says so itself,
/// as a 304 says all that tells how the response is stored (RFC 9110, section
/// 15.4.5), and sets no cookies.
pub(crate) fn is_for_all(update: &HeaderMap) -> bool {
    let directives = ResponseDirectives::of(update);
    directives.public && directives.private == Listed::Absent && !update.contains_key(SET_COOKIE)
}

/// Obsolete since RFC 7231, and still sent.
const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// Updates a stored head by that of a 304, or of a 200 to HEAD: RFC 9111,
/// section 3.2. What it says is from now on what was said first.
///
/// Each field that is there replaces all lines of the stored one, but for those
/// that describe the stored body as it is.
pub(crate) fn freshen(
    stored: &mut HeaderMap,
    mut update: HeaderMap,
    received: SystemTime,
    options: &Options<'_>,
) {
    strip_connection(&mut update);
    for exempt in [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_MD5] {
        update.remove(exempt);
    }
    if !options.set_cookie {
        update.remove(SET_COOKIE);
    }
    // Its age is that of the answer, which is new, and so is its date.
    stored.remove(AGE);
    stored.remove(DATE);
    // A name that is not given is that of the field before.
    let mut name = None;
    for (next, value) in update {
        // What finds no room is left out: the head is too large to be stored, then.
        let _ = match (next, &name) {
            (Some(next), _) => stored.try_insert(name.insert(next).clone(), value).map(drop),
            (None, Some(name)) => stored.try_append(name, value).map(drop),
            (None, None) => Ok(()),
        };
    }
    to_stored(stored, received, options);
}

/// What an answer to HEAD means for the response to GET that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadEffect {
    None,
    /// It is the same, and [freshened](freshen).
    Freshen,
    /// It has changed, and must not be used as it is.
    Invalidate,
}

impl HeadEffect {
    /// RFC 9111, section 4.3.5. The length is that of the complete stored body.
    pub(crate) fn of(
        status: StatusCode,
        head: &HeaderMap,
        stored_status: StatusCode,
        stored: &HeaderMap,
        length: Option<u64>,
    ) -> Self {
        if status != StatusCode::OK || stored_status != StatusCode::OK {
            return Self::None;
        }
        let tag = EntityTag::of(head)
            .is_none_or(|tag| EntityTag::of(stored).is_some_and(|kept| kept.weak_eq(tag)));
        let modified = head.get(LAST_MODIFIED);
        let date = modified.is_none() || modified == stored.get(LAST_MODIFIED);
        let said = head.get(CONTENT_LENGTH).map(|said| range::number(said.as_bytes()));
        let size = said.is_none_or(|said| said.is_some() && said == length);
        // What is coded in another way is of another length, as who is below may have decoded the
        // body: then a validator alone tells.
        let coded = head.get(CONTENT_ENCODING) != stored.get(CONTENT_ENCODING);
        let told = EntityTag::of(head).is_some() || modified.is_some();
        match tag && date && (size || coded) {
            true if size || told => Self::Freshen,
            true => Self::None,
            false => Self::Invalidate,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const EPOCH: &str = "Thu, 01 Jan 1970 00:00:00 GMT";

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_304_updates_all_but_what_describes_the_body() {
        // What the suite calls update304.
        for (stored, update, expected) in [
            (&[("test-header", "A")][..], &[][..], &[("test-header", "A")][..]),
            (&[("test-header", "A")], &[("test-header", "B")], &[("test-header", "B")]),
            (&[("content-foo", "A")], &[("content-foo", "B")], &[("content-foo", "B")]),
            (
                &[("cache-control", "max-age=1")],
                &[("cache-control", "max-age=3600")],
                &[("cache-control", "max-age=3600")],
            ),
            (&[("content-length", "5")], &[("content-length", "10")], &[("content-length", "5")]),
            (
                &[("content-encoding", "A")],
                &[("content-encoding", "B")],
                &[("content-encoding", "A")],
            ),
            (&[], &[("content-range", "bytes 0-0/1")], &[]),
            (&[("content-md5", "A")], &[("content-md5", "B")], &[("content-md5", "A")]),
            (&[("content-type", "A")], &[("content-type", "B")], &[("content-type", "B")]),
            (&[("set-cookie", "a=b")], &[("set-cookie", "a=c")], &[("set-cookie", "a=c")]),
            // Fields of several lines, and such that were not there.
            (&[("x", "1"), ("x", "2")], &[("x", "3")], &[("x", "3")]),
            (&[("x", "1")], &[("x", "2"), ("x", "3")], &[("x", "2"), ("x", "3")]),
            (&[], &[("y", "1"), ("y", "2")], &[("y", "1"), ("y", "2")]),
            // What is about the connection stays there.
            (&[("a", "1")], &[("connection", "a"), ("a", "2"), ("te", "x")], &[("a", "1")]),
        ] {
            let mut kept = headers(stored);
            let received = SystemTime::UNIX_EPOCH;
            freshen(&mut kept, headers(update), received, &Options::PRIVATE);
            assert_eq!(kept.remove(DATE).unwrap(), EPOCH);
            assert_eq!(kept.remove(AGE).unwrap(), "0");
            assert_eq!(kept, headers(expected), "{stored:?} {update:?}");
        }
    }

    #[test]
    fn a_304_has_an_age_and_a_date_of_its_own() {
        let old = [("age", "100"), ("date", THEN)];
        for (update, age, date) in [
            (&[][..], "0", EPOCH),
            (&[("date", LATER)], "0", LATER),
            (&[("date", LATER), ("age", "7")], "7", LATER),
        ] {
            let mut kept = headers(&old);
            freshen(&mut kept, headers(update), SystemTime::UNIX_EPOCH, &Options::PRIVATE);
            assert_eq!(kept[AGE], age);
            assert_eq!(kept[DATE], date);
        }
    }

    #[test]
    fn a_304_is_about_the_response_with_its_validator() {
        for (update, stored, alone, among) in [
            (&[("etag", "\"a\"")][..], &[("etag", "\"a\"")][..], true, true),
            (&[("etag", "\"a\"")], &[("etag", "\"b\"")], false, false),
            (&[("etag", "\"a\"")], &[("etag", "W/\"a\"")], false, false),
            (&[("etag", "\"a\"")], &[("last-modified", THEN)], false, false),
            (&[("etag", "W/\"a\"")], &[("etag", "\"a\"")], true, true),
            (&[("last-modified", THEN)], &[("last-modified", THEN)], true, true),
            (&[("last-modified", THEN)], &[("last-modified", LATER)], false, false),
            (&[], &[("etag", "\"a\"")], true, false),
            (&[], &[], true, false),
        ] {
            let (update, stored) = (headers(update), headers(stored));
            assert_eq!(is_about(&update, &stored, true), alone, "{update:?} {stored:?}");
            assert_eq!(is_about(&update, &stored, false), among, "{update:?} {stored:?}");
        }
    }

    #[test]
    fn an_answer_to_head_freshens_what_has_not_changed() {
        use HeadEffect::{Freshen, Invalidate, None as Nothing};
        for (status, head, stored, expected) in [
            (200, &[][..], &[][..], Freshen),
            (200, &[("etag", "\"a\"")], &[("etag", "\"a\"")], Freshen),
            (200, &[("etag", "\"a\"")], &[("etag", "\"b\"")], Invalidate),
            (200, &[("etag", "\"a\"")], &[], Invalidate),
            (200, &[], &[("etag", "\"b\"")], Freshen),
            (200, &[("last-modified", THEN)], &[("last-modified", LATER)], Invalidate),
            (200, &[("content-length", "5")], &[], Freshen),
            (200, &[("content-length", "6")], &[("content-length", "5")], Invalidate),
            (200, &[("content-length", "x")], &[], Invalidate),
            (200, &[("content-length", "6"), ("content-encoding", "gzip")], &[], Nothing),
            (200, &[("content-length", "6")], &[("content-encoding", "gzip")], Nothing),
            (
                200,
                &[("content-length", "6"), ("content-encoding", "gzip"), ("etag", "\"a\"")],
                &[("etag", "\"a\"")],
                Freshen,
            ),
            (200, &[("content-encoding", "gzip"), ("etag", "\"a\"")], &[], Invalidate),
            (410, &[("etag", "\"a\"")], &[("etag", "\"b\"")], Nothing),
            (304, &[], &[], Nothing),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let (head, stored) = (headers(head), headers(stored));
            let effect = HeadEffect::of(status, &head, StatusCode::OK, &stored, Some(5));
            assert_eq!(effect, expected, "{status} {head:?} {stored:?}");
            let missing = HeadEffect::of(status, &head, StatusCode::NOT_FOUND, &stored, Some(5));
            assert_eq!(missing, Nothing);
        }
    }
}

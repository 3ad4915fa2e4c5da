//! Which fields are stored: RFC 9111, section 3.1.

use std::time::SystemTime;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        AGE, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
        CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, EXPIRES, LAST_MODIFIED, SET_COOKIE, VARY,
    },
};

use super::{age, date, directives::response::ResponseDirectives, list, options::Options};

/// Without these a cache would forget its orders. They stay whatever
/// `Connection` says: RFC 9110, section 7.6.1, forbids to list them there.
pub(super) static VITAL: [HeaderName; 11] = [
    CACHE_CONTROL,
    HeaderName::from_static("cdn-cache-control"),
    VARY,
    AGE,
    DATE,
    EXPIRES,
    ETAG,
    LAST_MODIFIED,
    CONTENT_ENCODING,
    CONTENT_RANGE,
    CONTENT_TYPE,
];

/// How many names a head has at most that is stored. A map of fields has an end,
/// and panics there: with so few, what is added and what a 304 brings fit in.
const MAX_NAMES: usize = 4096;

/// Whether a head is small enough to be stored.
pub(crate) fn has_room(headers: &HeaderMap) -> bool {
    headers.keys_len() <= MAX_NAMES
}

/// Sets a field, unless there are as many as there can be.
pub(crate) fn set(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    let _ = headers.try_insert(name, value);
}

/// Makes the head of a response into one that is stored.
///
/// What is about the connection goes, and what must not be used again. A `Date`
/// that is missing is added, RFC 9110, section 6.6.1; one that is there stays.
/// `Age` has a place from now on, so that each use only has to [overwrite it](write_age).
pub(crate) fn to_stored(headers: &mut HeaderMap, received: SystemTime, options: &Options<'_>) {
    strip_connection(headers);
    let mut listed = Vec::new();
    ResponseDirectives::listed_fields(headers, options.shared, |name| {
        listed.extend(HeaderName::from_bytes(name));
    });
    listed.iter().for_each(|name| remove(headers, name));
    if !options.set_cookie {
        headers.remove(SET_COOKIE);
    }
    if !headers.contains_key(DATE) {
        set(headers, DATE, date::format(received));
        // The first clone of it allocates: better now than on a hit.
        drop(headers.get(DATE).cloned());
    }
    let reached = age::of(headers);
    set(headers, AGE, age::value(reached));
}

/// Tells the age of a stored response that is used: RFC 9111, section 4.
pub(crate) fn write_age(headers: &mut HeaderMap, age: u32) {
    match headers.get_mut(AGE) {
        Some(place) => *place = age::value(age),
        None => set(headers, AGE, age::value(age)),
    }
}

/// Removes what is about a connection: RFC 9110, section 7.6.1.
pub(crate) fn strip_connection(headers: &mut HeaderMap) {
    let mut gone: Vec<_> = list::members(headers, &CONNECTION)
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(|name| !VITAL.contains(name))
        .collect();
    gone.extend(headers.keys().filter(|name| is_hop_by_hop(name)).cloned());
    gone.iter().for_each(|name| remove(headers, name));
}

/// Whether a field is about a connection or a proxy, whether `Connection` lists it or not.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Makes the head of a stored response into that of a 304 that stands for it:
/// RFC 9110, section 15.4.5.
pub(crate) fn to_not_modified(headers: &mut HeaderMap) {
    for name in [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_RANGE] {
        headers.remove(name);
    }
}

fn remove(headers: &mut HeaderMap, name: &HeaderName) {
    headers.remove(name);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    fn stored(fields: &[(&'static str, &'static str)], options: &Options<'_>) -> Vec<String> {
        let mut headers = headers(fields);
        to_stored(&mut headers, SystemTime::UNIX_EPOCH, options);
        headers.remove(DATE);
        headers.remove(AGE);
        let mut names: Vec<_> = headers.keys().map(HeaderName::to_string).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_is_about_the_connection_is_not_stored() {
        for (fields, expected) in [
            (&[("x-a", "1"), ("content-foo", "1")][..], &["content-foo", "x-a"][..]),
            (&[("connection", "a, b"), ("a", "1"), ("b", "2"), ("c", "3")], &["c"]),
            (&[("connection", "A"), ("connection", "B"), ("a", "1"), ("b", "2")], &[]),
            (&[("keep-alive", "1"), ("proxy-connection", "1"), ("te", "1")], &[]),
            (&[("transfer-encoding", "chunked"), ("upgrade", "x"), ("trailer", "x")], &[]),
            (&[("proxy-authenticate", "1"), ("proxy-authentication-info", "1")], &[]),
            (&[("proxy-authorization", "1")], &[]),
            (&[("proxy-status", "1")], &["proxy-status"]),
            (
                &[
                    ("connection", "cache-control, vary"),
                    ("cache-control", "private"),
                    ("vary", "a"),
                ],
                &["cache-control", "vary"],
            ),
            (&[("set-cookie", "a=b"), ("set-cookie2", "a=b")], &["set-cookie", "set-cookie2"]),
        ] {
            assert_eq!(stored(fields, &Options::PRIVATE), expected, "{fields:?}");
        }
    }

    #[test]
    fn what_must_not_be_used_again_is_not_stored() {
        let fields = [
            ("cache-control", "no-cache=\"a\", private=\"b, c\""),
            ("a", "1"),
            ("b", "2"),
            ("c", "3"),
            ("set-cookie", "d"),
        ];
        let private = stored(&fields, &Options::PRIVATE);
        assert_eq!(private, ["b", "c", "cache-control", "set-cookie"]);
        assert_eq!(stored(&fields, &Options::SHARED), ["cache-control"]);
    }

    #[test]
    fn a_date_is_added_and_never_changed() {
        let received = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (date, expected) in [
            (None, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (Some("Sunday, 06-Nov-94 08:49:37 GMT"), "Sunday, 06-Nov-94 08:49:37 GMT"),
            (Some("foo"), "foo"),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(date.map(|date| (DATE, HeaderValue::from_static(date))));
            to_stored(&mut headers, received, &Options::PRIVATE);
            assert_eq!(headers[DATE], expected);
            assert_eq!(headers[AGE], "0");
            write_age(&mut headers, 12);
            assert_eq!(headers[AGE], "12");
        }
    }

    #[test]
    fn the_age_that_others_saw_is_kept() {
        let mut headers = headers(&[("age", "30, 5"), ("age", "7")]);
        to_stored(&mut headers, SystemTime::UNIX_EPOCH, &Options::PRIVATE);
        assert_eq!(headers.get_all(AGE).iter().collect::<Vec<_>>(), ["30"]);
    }

    #[test]
    fn a_304_keeps_what_it_must() {
        let mut headers = headers(&[
            ("etag", "\"a\""),
            ("vary", "a"),
            ("date", "foo"),
            ("content-location", "/"),
            ("content-length", "5"),
            ("content-type", "text/plain"),
        ]);
        to_not_modified(&mut headers);
        let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["etag", "vary", "date", "content-location"]);
    }
}

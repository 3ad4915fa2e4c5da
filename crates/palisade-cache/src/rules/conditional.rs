//! Conditional requests: those that a cache sends, and those that it answers. RFC 9111, section 4.3.

use std::time::SystemTime;

use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{
        DATE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
    },
};

use super::{
    date::Dated,
    etag::{self, EntityTag, Match},
};

/// Makes a request ask whether one of the stored responses is still the same.
/// Says whether it does: without a validator there is nothing to ask.
///
/// The selected response is for this request; the others are variants for
/// other requests, of which the origin may choose one. What the client asked
/// itself goes, and is to be [answered](is_not_modified) with what is stored then.
pub(crate) fn validate<'s>(
    request: &mut HeaderMap,
    selected: Option<&'s HeaderMap>,
    others: impl IntoIterator<Item = &'s HeaderMap>,
) -> bool {
    request.remove(IF_NONE_MATCH);
    request.remove(IF_MODIFIED_SINCE);
    let mut tags: Vec<&HeaderValue> = Vec::new();
    for stored in selected.into_iter().chain(others) {
        let tag = EntityTag::of(stored).and_then(|_| stored.get(ETAG));
        tags.extend(tag.filter(|tag| !tags.contains(tag)));
    }
    let modified = selected.and_then(|stored| stored.get(LAST_MODIFIED));
    if let Some(modified) = modified {
        request.insert(IF_MODIFIED_SINCE, modified.clone());
    }
    match *tags {
        [] => {}
        [tag] => {
            request.insert(IF_NONE_MATCH, tag.clone());
        }
        _ => {
            let list = tags.iter().map(|tag| tag.as_bytes()).collect::<Vec<_>>().join(&b", "[..]);
            let list = HeaderValue::from_bytes(&list);
            request.insert(IF_NONE_MATCH, list.expect("each of them is a value"));
        }
    }
    modified.is_some() || !tags.is_empty()
}

/// Whether only the origin can answer: RFC 9111, section 4.3.2. These conditions
/// are about what it has now, so that no cache answers 412.
pub(crate) fn is_for_the_origin(request: &HeaderMap) -> bool {
    request.contains_key(IF_MATCH) || request.contains_key(IF_UNMODIFIED_SINCE)
}

/// Whether a stored response that may be used, to GET or HEAD, is one that the
/// client has already: it gets a 304 then. RFC 9110, section 13.2.2.
pub(crate) fn is_not_modified(
    request: &HeaderMap,
    status: StatusCode,
    stored: &HeaderMap,
    received: SystemTime,
) -> bool {
    // Most requests ask for no such thing, and then nothing has to be read.
    if !request.contains_key(IF_NONE_MATCH) && !request.contains_key(IF_MODIFIED_SINCE) {
        return false;
    }
    // RFC 9110, section 13.2.1: conditions are about what would be a success.
    if !status.is_success() {
        return false;
    }
    match etag::find(request, &IF_NONE_MATCH, EntityTag::of(stored)) {
        Match::Yes => true,
        Match::No => false,
        Match::Absent => {
            let since = Dated::of(request, &IF_MODIFIED_SINCE, received).at();
            since.is_some_and(|since| modified(stored, received) <= since)
        }
    }
}

/// RFC 9111, section 4.3.2: without `Last-Modified`, `Date` stands for it.
fn modified(stored: &HeaderMap, received: SystemTime) -> SystemTime {
    let date = |name| Dated::of(stored, name, received).at();
    date(&LAST_MODIFIED).or_else(|| date(&DATE)).unwrap_or(received)
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const THEN_850: &str = "Sunday, 06-Nov-94 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_client_that_has_the_response_gets_a_304() {
        let tagged = &[("etag", "\"abcdef\""), ("last-modified", LATER)][..];
        for (request, stored, expected) in [
            (&[][..], tagged, false),
            (&[("if-none-match", "\"abcdef\"")], tagged, true),
            (&[("if-none-match", "W/\"abcdef\"")], tagged, true),
            (&[("if-none-match", "\"1234\", \"abcdef\"")], tagged, true),
            (&[("if-none-match", "*")], tagged, true),
            (&[("if-none-match", "*")], &[], true),
            (&[("if-none-match", "\"1234\"")], tagged, false),
            (&[("if-none-match", "abcdef")], &[("etag", "abcdef")], true),
            (&[("if-none-match", "\"abcdef\"")], &[], false),
            // If-None-Match goes before If-Modified-Since.
            (&[("if-none-match", "\"abcdef\""), ("if-modified-since", THEN)], tagged, true),
            (&[("if-none-match", "\"1234\""), ("if-modified-since", LATER)], tagged, false),
            (&[("if-modified-since", LATER)], &[("last-modified", LATER)], true),
            (&[("if-modified-since", LATER)], &[("last-modified", THEN)], true),
            (&[("if-modified-since", THEN)], &[("last-modified", LATER)], false),
            (&[("if-modified-since", THEN_850)], &[("last-modified", THEN)], true),
            (&[("if-modified-since", LATER)], &[("date", LATER)], true),
            (&[("if-modified-since", THEN)], &[("date", LATER)], false),
            (&[("if-modified-since", LATER)], &[("last-modified", "x"), ("date", THEN)], true),
            (&[("if-modified-since", "Mon, 01 Jan 2035 00:00:00 GMT")], &[], true),
            (&[("if-modified-since", LATER)], &[], false),
            (&[("if-modified-since", "soon")], &[("last-modified", THEN)], false),
            (
                &[("if-modified-since", THEN), ("if-modified-since", LATER)],
                &[("last-modified", THEN)],
                false,
            ),
        ] {
            let received = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000);
            let (request, stored) = (headers(request), headers(stored));
            let answer = |status| is_not_modified(&request, status, &stored, received);
            assert_eq!(answer(StatusCode::OK), expected, "{request:?} {stored:?}");
            assert!(!answer(StatusCode::NOT_FOUND) && !answer(StatusCode::FOUND));
        }
    }

    #[test]
    fn a_validation_names_what_is_stored() {
        let client = &[("if-none-match", "\"client\""), ("if-modified-since", LATER)][..];
        for (asked, selected, others, expected) in [
            (client, None, &[][..], &[][..]),
            (client, Some(&[("etag", "\"a\"")][..]), &[], &[("if-none-match", "\"a\"")]),
            (&[], Some(&[("etag", "W/\"a\"")]), &[], &[("if-none-match", "W/\"a\"")]),
            (&[], Some(&[("last-modified", THEN)]), &[], &[("if-modified-since", THEN)]),
            (&[], Some(&[("date", THEN)]), &[], &[]),
            (
                &[],
                Some(&[("last-modified", THEN), ("etag", "\"a\"")]),
                &[&[("etag", "\"b\"")][..], &[("etag", "\"a\"")], &[("last-modified", LATER)]],
                &[("if-modified-since", THEN), ("if-none-match", "\"a\", \"b\"")],
            ),
            (&[], None, &[&[("etag", "\"b\"")]], &[("if-none-match", "\"b\"")]),
        ] {
            let mut request = headers(asked);
            let selected = selected.map(headers);
            let others: Vec<_> = others.iter().map(|stored| headers(stored)).collect();
            let asks = validate(&mut request, selected.as_ref(), &others);
            assert_eq!(request, headers(expected), "{selected:?} {others:?}");
            assert_eq!(asks, !expected.is_empty());
        }
    }

    #[test]
    fn what_is_about_the_state_of_the_origin_goes_there() {
        assert!(is_for_the_origin(&headers(&[("if-match", "*")])));
        assert!(is_for_the_origin(&headers(&[("if-unmodified-since", THEN)])));
        assert!(!is_for_the_origin(&headers(&[("if-none-match", "*")])));
    }
}

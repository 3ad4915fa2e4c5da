//! What must hold for any bytes: for the fuzz targets of this repository, and for tests here.

#![expect(clippy::missing_panics_doc, reason = "to panic is what they are for")]

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header::DATE};

use crate::rules::{
    admission::admit,
    conditional, date,
    directives::{
        request::RequestDirectives,
        response::{Listed, ResponseDirectives},
        targeted,
    },
    etag::EntityTag,
    fields,
    key::same_target,
    list::MAX_SECONDS,
    location,
    lookup::{Demand, Lookup, Mode},
    options::Options,
    partial::{Part, may_combine},
    policy::Exchange,
    range::{Plan, Slice},
    update::{self, HeadEffect},
    vary::Selector,
};

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// Directives of any kind have times within bounds.
pub fn fuzz_directives(headers: &HeaderMap) {
    let said = ResponseDirectives::of(headers);
    let times = |said: &ResponseDirectives| {
        [said.max_age, said.s_maxage, said.stale_while_revalidate, said.stale_if_error]
    };
    assert!(times(&said).into_iter().flatten().all(|seconds| seconds <= MAX_SECONDS));
    let targeted = targeted::of(headers);
    let mut targeted_times = targeted.iter().flat_map(times).flatten();
    assert!(targeted_times.all(|seconds| seconds <= MAX_SECONDS));
    assert!(targeted.is_none_or(|said| said.no_cache != Listed::Fields));
    let asked = RequestDirectives::of(headers);
    assert!(asked.max_age.is_none_or(|seconds| seconds <= MAX_SECONDS));

    let mut listed = 0;
    ResponseDirectives::listed_fields(headers, true, |name| {
        assert!(!name.is_empty());
        listed += 1;
    });
    let some = said.no_cache == Listed::Fields || said.private == Listed::Fields;
    assert!(!some || 0 < listed, "fields without a name");
}

/// A date that is read is written and read as the same one.
pub fn fuzz_date(text: &[u8]) {
    let Some(read) = date::parse(text, now()) else {
        return;
    };
    if let Ok(since_epoch) = read.duration_since(SystemTime::UNIX_EPOCH)
        && since_epoch.as_secs() < 253_402_300_800
    {
        assert_eq!(date::parse(date::format(read).as_bytes(), now()), Some(read));
    }
}

/// A response is for the request that it answered, and a selector is bounded.
pub fn fuzz_vary(request: &HeaderMap, response: &HeaderMap) {
    if let Ok(selector) = Selector::of(request, response, &Options::PRIVATE) {
        assert!(selector.matches(request));
        assert!(selector.len() <= 2 * 8 * 1024 + language_len(response));
    }
}

fn language_len(response: &HeaderMap) -> usize {
    response.get("content-language").map_or(0, HeaderValue::len)
}

/// What is cut out of a body or of a part is within it.
pub fn fuzz_range(request: &HeaderMap, response: &HeaderMap, length: u64) {
    if let Plan::Part(slice) = Plan::of(request, response, length, now()) {
        assert!(slice.first <= slice.last && slice.last < length);
    }
    let said = Slice::of(response);
    assert!(said.is_none_or(|(slice, _)| slice.first <= slice.last));
    let Some(part) = Part::of(request, response, length) else {
        return;
    };
    assert_eq!(part.held().len(), length);
    if let Some(slice) = part.answer(request, response, now()) {
        assert!(part.held().contains(slice));
    }
    let both = part.combine(&part);
    assert!(both.is_none_or(|both| both.held() == part.held()));
    assert!(!part.is_complete() || part.missing().is_none());
}

/// A validation is answered by what it names, and tags are equal to themselves.
pub fn fuzz_conditional(request: &HeaderMap, stored: &HeaderMap) {
    let _ = conditional::is_not_modified(request, StatusCode::OK, stored, now());
    let mut validation = request.clone();
    let asks = conditional::validate(&mut validation, Some(stored), [stored]);
    if let Some(tag) = EntityTag::of(stored) {
        assert!(asks && tag.weak_eq(tag) && tag.strong_eq(tag) == tag.is_strong());
        assert_eq!(may_combine(stored, stored), tag.is_strong());
        assert!(update::is_about(stored, stored, false));
        if tag.is_strong() {
            assert!(conditional::is_not_modified(&validation, StatusCode::OK, stored, now()));
        }
    }
    let same = HeadEffect::of(StatusCode::OK, stored, StatusCode::OK, stored, None);
    assert!(same == HeadEffect::Freshen || stored.contains_key("content-length"));
}

/// Ages never go backwards, what is forbidden is not done, and heads that are
/// stored stay as they are.
pub fn fuzz_exchange(request: &HeaderMap, response: &HeaderMap, status: u16, times: [u32; 3]) {
    let uri = Uri::from_static("http://a.example/x");
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    for options in [Options::PRIVATE, Options::SHARED] {
        let exchange = Exchange {
            method: &Method::GET,
            uri: &uri,
            request,
            status,
            response,
            asked: now(),
            received: now(),
        };
        check_head(response, &options);
        let Ok(stored) = admit(&exchange, &options) else {
            continue;
        };
        let directives = ResponseDirectives::of(response);
        let targeted = options.shared && targeted::of(response).is_some();
        assert!(targeted || !directives.no_store || directives.must_understand);
        assert!(stored.selector.matches(request));
        let mut sorted = times;
        sorted.sort_unstable();
        let mut before = 0;
        for seconds in sorted {
            let now = now() + Duration::from_secs(seconds.into());
            let age = stored.policy.age(now);
            assert!(before <= age && age <= MAX_SECONDS);
            before = age;
            let demand = Demand::of(Mode::Default, request);
            let lookup = demand.look_up(&stored.policy, now);
            let stale = matches!(lookup, Lookup::Stale { .. } | Lookup::Revalidating { .. });
            assert!(targeted || !(stale && directives.must_revalidate));
            assert!(targeted || directives.no_cache != Listed::Whole || !is_used(lookup));
            let instead = demand.in_place_of_error(&stored.policy, now);
            assert!(targeted || !(instead.is_some() && directives.must_revalidate));
        }
    }
}

fn is_used(lookup: Lookup) -> bool {
    !matches!(lookup, Lookup::Validate(_) | Lookup::Unavailable)
}

fn check_head(response: &HeaderMap, options: &Options<'_>) {
    let mut once = response.clone();
    fields::to_stored(&mut once, now(), options);
    let mut twice = once.clone();
    fields::to_stored(&mut twice, now(), options);
    assert_eq!(once, twice);
    assert!(!once.contains_key("connection") && once.contains_key(DATE));
    update::freshen(&mut twice, response.clone(), now(), options);
    assert!(!twice.contains_key("connection") && twice.contains_key(DATE));
    assert_eq!(twice.get("content-length"), once.get("content-length"));
}

/// A reference is resolved to one place, whatever it is.
pub fn fuzz_location(reference: &[u8]) {
    let base = Uri::from_static("http://a.example/b/c?q");
    if let Some(uri) = location::resolve(&base, reference) {
        assert!(same_target(&uri, &uri));
        // What is absolute stays where it is.
        let again = location::resolve(&base, uri.to_string().as_bytes());
        assert!(again.is_none_or(|again| uri.scheme().is_none() || same_target(&again, &uri)));
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 22] = [
        "accept-language",
        "age",
        "authorization",
        "cache-control",
        "cdn-cache-control",
        "connection",
        "content-language",
        "content-length",
        "content-location",
        "content-range",
        "date",
        "etag",
        "expires",
        "foo",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "last-modified",
        "location",
        "pragma",
        "range",
        "vary",
    ];

    fn value() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..24),
            "[a-z*]{0,4}(, ?[a-z*;=q0-9.\"\\\\/-]{0,8}){0,3}".prop_map(String::into_bytes),
            "(W/)?\"[ab,]{0,2}\"".prop_map(String::into_bytes),
            "bytes[ =][0-9]{0,2}-[0-9]{0,2}(/[0-9*]{1,2})?".prop_map(String::into_bytes),
            "(max-age|s-maxage|no-cache|private|max-stale)(=\"?[0-9a-z, ]{0,11}\"?)?(, (must-revalidate|no-store|stale-if-error=9))?"
                .prop_map(String::into_bytes),
            (0..4_000_000_000_u64).prop_map(|seconds| {
                date::format(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).as_bytes().to_vec()
            }),
        ]
    }

    fn headers() -> impl Strategy<Value = HeaderMap> {
        let field = (prop::sample::select(NAMES.to_vec()), value());
        proptest::collection::vec(field, 0..10).prop_map(|fields| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    headers.append(HeaderName::from_static(name), value);
                }
            }
            headers
        })
    }

    proptest! {
        #[test]
        fn holds_for_any_fields(
            request in headers(), response in headers(), length in 0..30_u64,
            status in 200..600_u16, times in any::<[u32; 3]>(), text in value(),
        ) {
            fuzz_directives(&response);
            fuzz_date(&text);
            fuzz_vary(&request, &response);
            fuzz_range(&request, &response, length);
            fuzz_conditional(&request, &response);
            fuzz_exchange(&request, &response, status, times);
            fuzz_location(&text);
        }
    }

    #[test]
    fn a_huge_block_of_fields_is_read_in_no_time() {
        let mut headers = HeaderMap::new();
        for index in 0..2000 {
            for name in ["cache-control", "vary", "if-none-match", "accept-language", "connection"]
            {
                let text = format!("max-age={index}, x-{index}, \"a{index}\", *;q=0.{index}");
                headers.append(name, HeaderValue::try_from(text).unwrap());
            }
        }
        fuzz_directives(&headers);
        fuzz_vary(&headers, &headers);
        fuzz_conditional(&headers, &headers);
        fuzz_exchange(&headers, &headers, 200, [0, 1, u32::MAX]);
    }
}

//! The same questions to http-cache-semantics, where it is right.
//!
//! Left out is what it reads otherwise than the RFC has it, or does not know: `Date` in the past,
//! directives twice or in capitals, old formats of dates, `immutable`, `proxy-revalidate`,
//! `Pragma`, statuses, cookies in shared caches, times beyond a heuristic day.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_cache_semantics::{BeforeRequest, CacheOptions, CachePolicy};
use proptest::prelude::*;

use super::{
    admission::admit,
    date,
    lookup::{Demand, Lookup, Mode},
    options::Options,
    policy::Exchange,
};

const URI: &str = "http://a.example/x";

fn received() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn date(offset: i64) -> HeaderValue {
    let by = Duration::from_secs(offset.unsigned_abs());
    date::format(if offset < 0 { received() - by } else { received() + by })
}

fn directive() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..60_u32).prop_map(|seconds| format!("max-age={seconds}")),
        (0..60_u32).prop_map(|seconds| format!("s-maxage={seconds}")),
        Just("max-age=x".to_owned()),
        Just("no-store".to_owned()),
        Just("no-cache".to_owned()),
        Just("private".to_owned()),
        Just("public".to_owned()),
        Just("must-revalidate".to_owned()),
        Just("foo=\"bar\"".to_owned()),
    ]
}

/// Directives, each at most once.
fn directives() -> impl Strategy<Value = String> {
    proptest::collection::vec(directive(), 0..4).prop_map(|mut directives| {
        let name = |directive: &String| directive.split('=').next().unwrap().to_owned();
        directives.sort_by_key(name);
        directives.dedup_by_key(|directive| name(directive));
        directives.join(", ")
    })
}

prop_compose! {
    fn response()(
        status in prop::sample::select(vec![
            200, 203, 204, 300, 301, 302, 307, 404, 405, 410, 414, 501,
        ]),
        cache_control in directives(),
        expires in prop::option::of(prop::option::of(-60..60_i64)),
        modified in prop::option::of(0..60_i64),
        age in prop::option::of(0..60_u32),
        dated in any::<bool>(),
    ) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        let headers = response.headers_mut();
        let mut set = |name: &'static str, value: HeaderValue| {
            headers.insert(HeaderName::from_static(name), value);
        };
        if !cache_control.is_empty() {
            set("cache-control", HeaderValue::try_from(cache_control).unwrap());
        }
        if let Some(expires) = expires {
            set("expires", expires.map_or(HeaderValue::from_static("0"), date));
        }
        if let Some(tens) = modified {
            set("last-modified", date(-10 * tens));
        }
        if let Some(age) = age {
            set("age", HeaderValue::from(age));
        }
        if dated {
            set("date", date(0));
        }
        response
    }
}

fn ours(
    request: &HeaderMap,
    response: &Response<()>,
    options: &Options<'_>,
    later: &HeaderMap,
    seconds: u64,
) -> Option<u32> {
    let exchange = Exchange {
        method: &Method::GET,
        uri: &Uri::from_static(URI),
        request,
        status: response.status(),
        response: response.headers(),
        asked: received(),
        received: received(),
    };
    let admitted = admit(&exchange, options).ok()?;
    let now = received() + Duration::from_secs(seconds);
    match Demand::of(Mode::Default, later).look_up(&admitted.policy, now) {
        Lookup::Fresh { age } => Some(age),
        _ => None,
    }
}

fn theirs(
    request: &Request<()>,
    response: &Response<()>,
    shared: bool,
    later: &Request<()>,
    seconds: u64,
) -> Option<u32> {
    let options = CacheOptions { shared, ..CacheOptions::default() };
    let policy = CachePolicy::new_options(request, response, received(), options);
    let now = received() + Duration::from_secs(seconds);
    if !policy.is_storable() {
        return None;
    }
    match policy.before_request(later, now) {
        BeforeRequest::Fresh(_) => u32::try_from(policy.age(now).as_secs()).ok(),
        BeforeRequest::Stale { .. } => None,
    }
}

fn get(fields: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::get(URI).body(()).unwrap();
    for (name, value) in fields {
        let value = HeaderValue::try_from(*value).unwrap();
        request.headers_mut().insert(HeaderName::from_static(name), value);
    }
    request
}

proptest! {
    #[test]
    fn freshness_is_the_same(
        response in response(), shared in any::<bool>(), authorized in any::<bool>(),
        seconds in 0..70_u64,
    ) {
        let request = if authorized { get(&[("authorization", "x")]) } else { get(&[]) };
        let options = if shared { Options::SHARED } else { Options::PRIVATE };
        let ours = ours(request.headers(), &response, &options, request.headers(), seconds);
        let theirs = theirs(&request, &response, shared, &request, seconds);
        prop_assert_eq!(ours, theirs, "{:?}", response);
    }

    #[test]
    fn requests_are_obeyed_the_same(
        response in response(),
        asks in prop_oneof![
            (1..60_u32).prop_map(|seconds| format!("max-age={seconds}")),
            (0..60_u32).prop_map(|seconds| format!("min-fresh={seconds}")),
            Just("no-cache".to_owned()),
            Just("foo".to_owned()),
        ],
        seconds in 0..70_u64,
    ) {
        let later = get(&[("cache-control", &asks)]);
        let ours = ours(&HeaderMap::new(), &response, &Options::PRIVATE, later.headers(), seconds);
        let theirs = theirs(&get(&[]), &response, false, &later, seconds);
        prop_assert_eq!(ours, theirs, "{:?} {}", response, asks);
    }
}

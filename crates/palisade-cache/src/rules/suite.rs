//! What http-tests/cache-tests wants, one row for each of its tests that these rules decide.
//!
//! The ids are those of the suite. A value `@-30` is a date, 30 seconds before the response comes.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use super::{
    admission::{Admitted, Unstorable, admit},
    date, fields,
    lookup::{Demand, Lookup, Mode, Why},
    options::{Options, Ttl},
    policy::Exchange,
    update,
};

type Fields = &'static [(&'static str, &'static str)];

/// How long the suite pauses.
const PAUSE: u64 = 3;

fn received() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn after(seconds: u64) -> SystemTime {
    received() + Duration::from_secs(seconds)
}

fn headers(fields: Fields) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let value = match value.strip_prefix('@').map(|text| text.parse::<i64>().unwrap()) {
            None => HeaderValue::from_static(value),
            Some(offset) if offset < 0 => {
                date::format(received() - Duration::from_secs(offset.unsigned_abs()))
            }
            Some(offset) => date::format(after(offset.unsigned_abs())),
        };
        headers.append(HeaderName::from_static(name), value);
    }
    headers
}

/// Like the suite: not one without a word of cookies.
fn shared() -> Options<'static> {
    Options { set_cookie: true, ..Options::SHARED }
}

fn store(
    options: &Options<'_>,
    method: &str,
    status: u16,
    request: Fields,
    response: Fields,
) -> Result<Admitted, Unstorable> {
    let uri = Uri::from_static("http://a.example/x");
    let exchange = Exchange {
        method: &Method::from_bytes(method.as_bytes()).unwrap(),
        uri: &uri,
        request: &headers(request),
        status: StatusCode::from_u16(status).unwrap(),
        response: &headers(response),
        asked: received(),
        received: received(),
    };
    admit(&exchange, options)
}

fn get(options: &Options<'_>, response: Fields) -> Result<Admitted, Unstorable> {
    store(options, "GET", 200, &[], response)
}

fn look(stored: &Admitted, mode: Mode, request: Fields, seconds: u64) -> Lookup {
    let request = headers(request);
    assert!(stored.selector.matches(&request));
    Demand::of(mode, &request).look_up(&stored.policy, after(seconds))
}

fn is_cached(stored: &Result<Admitted, Unstorable>, seconds: u64) -> bool {
    let lookup = stored.as_ref().map(|stored| look(stored, Mode::Default, &[], seconds));
    matches!(lookup, Ok(Lookup::Fresh { .. } | Lookup::Stale { .. } | Lookup::Revalidating { .. }))
}

fn check(options: &Options<'_>, rows: &[(&str, Fields, bool)]) {
    for (id, response, cached) in rows {
        assert_eq!(is_cached(&get(options, response), PAUSE), *cached, "{id}");
    }
}

const CC: &str = "cache-control";

/// Both of a private and of a shared cache.
const FRESHNESS: &[(&str, Fields, bool)] = &[
    ("freshness-none", &[], false),
    ("freshness-max-age", &[(CC, "max-age=3600")], true),
    ("freshness-max-age-0", &[(CC, "max-age=0")], false),
    ("freshness-max-age-stale", &[(CC, "max-age=2")], false),
    ("freshness-max-age-max-minus-1", &[(CC, "max-age=2147483647")], true),
    ("freshness-max-age-max", &[(CC, "max-age=2147483648")], true),
    ("freshness-max-age-max-plus-1", &[(CC, "max-age=2147483649")], true),
    ("freshness-max-age-max-plus", &[(CC, "max-age=99999999999")], true),
    ("freshness-max-age-age", &[("date", "@0"), (CC, "max-age=3600"), ("age", "7200")], false),
    ("freshness-max-age-date", &[("date", "@-7200"), (CC, "max-age=3600")], false),
    (
        "freshness-max-age-expires",
        &[(CC, "max-age=3600"), ("expires", "@-7200"), ("date", "@0")],
        true,
    ),
    (
        "freshness-max-age-expires-invalid",
        &[(CC, "max-age=3600"), ("expires", "0"), ("date", "@0")],
        true,
    ),
    (
        "freshness-max-age-0-expires",
        &[("expires", "@3600"), (CC, "max-age=0"), ("date", "@0")],
        false,
    ),
    ("freshness-max-age-extension", &[(CC, "foobar, max-age=3600")], true),
    ("freshness-max-age-case-insenstive", &[(CC, "MaX-aGe=3600")], true),
    ("freshness-max-age-negative", &[(CC, "max-age=-3600")], false),
    ("freshness-max-age-two-fresh-stale-sameline", &[(CC, "max-age=1800, max-age=1")], true),
    ("freshness-max-age-two-fresh-stale-sepline", &[(CC, "max-age=1800"), (CC, "max-age=1")], true),
    ("freshness-max-age-two-stale-fresh-sameline", &[(CC, "max-age=1, max-age=1800")], false),
    (
        "freshness-max-age-two-stale-fresh-sepline",
        &[(CC, "max-age=1"), (CC, "max-age=1800")],
        false,
    ),
    ("freshness-max-age-quoted", &[(CC, "max-age=\"3600\"")], true),
    ("freshness-max-age-ignore-quoted", &[(CC, "extension=\"max-age=3600\", max-age=1")], false),
    (
        "freshness-max-age-ignore-quoted-rev",
        &[(CC, "max-age=1, extension=\"max-age=3600\"")],
        false,
    ),
    ("freshness-max-age-single-quoted", &[(CC, "max-age='3600'")], false),
    ("freshness-max-age-leading-zero", &[(CC, "max-age=003600")], true),
    ("age-parse-nonnumeric", &[("date", "@0"), (CC, "max-age=3600"), ("age", "abc")], true),
    ("age-parse-negative", &[("date", "@0"), (CC, "max-age=3600"), ("age", "-7200")], true),
    ("age-parse-float", &[("date", "@0"), (CC, "max-age=3600"), ("age", "7200.0")], true),
    ("age-parse-large", &[("date", "@0"), (CC, "max-age=3600"), ("age", "2147483648")], false),
    ("age-parse-suffix", &[("date", "@0"), (CC, "max-age=3600"), ("age", "7200, 0")], false),
    ("age-parse-prefix", &[("date", "@0"), (CC, "max-age=3600"), ("age", "0, 7200")], true),
    ("age-parse-dup-old", &[(CC, "max-age=10000"), ("age", "3600"), ("age", "3600")], true),
    ("freshness-expires-future", &[("expires", "@2592000"), ("date", "@0")], true),
    ("freshness-expires-past", &[("expires", "@-2592000"), ("date", "@0")], false),
    ("freshness-expires-present", &[("expires", "@0"), ("date", "@0")], false),
    ("freshness-expires-old-date", &[("expires", "@300"), ("date", "@400")], false),
    ("freshness-expires-invalid", &[("expires", "0"), ("date", "@0")], false),
    ("freshness-expires-invalid-date", &[("date", "foo"), ("expires", "@10")], true),
    (
        "freshness-expires-age-slow-date",
        &[("date", "@-10"), ("expires", "@10"), ("age", "25")],
        false,
    ),
    (
        "freshness-expires-age-fast-date",
        &[("date", "@10"), ("expires", "@20"), ("age", "15")],
        false,
    ),
    ("freshness-expires-invalid-utc", &[("expires", "Thu, 18 Aug 2050 02:01:18 UTC")], false),
    (
        "an Expires that is no date leaves nothing to guess",
        &[("expires", "0"), ("last-modified", "@-86400")],
        false,
    ),
    ("cc-resp-no-store", &[(CC, "no-store")], false),
    ("cc-resp-no-store-case-insensitive", &[(CC, "No-StOrE")], false),
    ("cc-resp-no-store-fresh", &[(CC, "max-age=10000, no-store"), ("expires", "@10000")], false),
    ("cc-resp-no-cache", &[(CC, "max-age=10000, no-cache"), ("expires", "@10000")], false),
    ("cc-resp-no-cache-case-insensitive", &[(CC, "max-age=10000, No-CaChE")], false),
    ("cc-resp-no-cache-revalidate", &[(CC, "no-cache"), ("etag", "\"abcd\"")], false),
    (
        "headers-omit-headers-listed-in-Cache-Control-no-cache",
        &[(CC, "no-cache=\"a, b\""), (CC, "max-age=3600")],
        true,
    ),
    (
        "cc-resp-must-revalidate-fresh",
        &[(CC, "max-age=10000, must-revalidate"), ("etag", "\"abcd\"")],
        true,
    ),
    (
        "cc-resp-must-revalidate-stale",
        &[(CC, "max-age=2, must-revalidate"), ("etag", "\"abcd\"")],
        false,
    ),
    (
        "stale-while-revalidate",
        &[(CC, "max-age=1, stale-while-revalidate=3600"), ("etag", "\"a\"")],
        true,
    ),
    (
        "must-revalidate goes before stale-while-revalidate",
        &[(CC, "max-age=1, must-revalidate, stale-while-revalidate=3600")],
        false,
    ),
    ("pragma-response-no-cache", &[(CC, "max-age=3600"), ("pragma", "no-cache")], true),
    (
        "pragma-response-no-cache-heuristic",
        &[("last-modified", "@-10000"), ("pragma", "no-cache")],
        false,
    ),
    ("pragma-response-extension", &[(CC, "max-age=3600"), ("pragma", "unrecognised")], true),
    ("heuristic-delta-86400", &[("last-modified", "@-86400"), ("date", "@0")], true),
    ("heuristic-delta-60", &[("last-modified", "@-60"), ("date", "@0")], true),
    ("heuristic-delta-30", &[("last-modified", "@-30"), ("date", "@0")], false),
    (
        "a change in the future is no reason to guess",
        &[("last-modified", "@60"), ("date", "@0")],
        false,
    ),
    ("other-set-cookie", &[(CC, "max-age=3600"), ("set-cookie", "a=b")], true),
];

#[test]
fn freshness_is_as_the_suite_wants_it() {
    check(&Options::PRIVATE, FRESHNESS);
    check(&shared(), FRESHNESS);
}

#[test]
fn private_caches_do_not_obey_what_is_for_shared_ones() {
    check(
        &Options::PRIVATE,
        &[
            ("freshness-max-age-s-maxage-private", &[(CC, "s-maxage=3600, max-age=1")], false),
            (
                "freshness-max-age-s-maxage-private-multiple",
                &[(CC, "s-maxage=3600"), (CC, "max-age=1")],
                false,
            ),
            ("cc-resp-private-private", &[(CC, "private, max-age=3600")], true),
            ("cdn-max-age", &[("cdn-cache-control", "max-age=3600")], false),
            ("s-maxage=0", &[(CC, "s-maxage=0, max-age=3600")], true),
        ],
    );
}

#[test]
fn shared_caches_obey_what_is_for_them() {
    check(
        &shared(),
        &[
            ("freshness-s-maxage-shared", &[(CC, "s-maxage=3600")], true),
            (
                "freshness-max-age-s-maxage-shared-longer",
                &[(CC, "max-age=3600, s-maxage=1")],
                false,
            ),
            (
                "freshness-max-age-s-maxage-shared-longer-reversed",
                &[(CC, "s-maxage=1, max-age=3600")],
                false,
            ),
            (
                "freshness-max-age-s-maxage-shared-longer-multiple",
                &[(CC, "max-age=3600"), (CC, "s-maxage=1")],
                false,
            ),
            (
                "freshness-max-age-s-maxage-shared-shorter",
                &[(CC, "max-age=1, s-maxage=3600")],
                true,
            ),
            (
                "freshness-max-age-s-maxage-shared-shorter-expires",
                &[("expires", "@-10"), (CC, "max-age=0, s-maxage=3600")],
                true,
            ),
            ("cc-resp-private-shared", &[(CC, "private, max-age=3600")], false),
            ("private for a field", &[(CC, "private=\"set-cookie\", max-age=3600")], true),
        ],
    );
}

#[test]
fn shared_caches_obey_cdn_cache_control() {
    const CDN: &str = "cdn-cache-control";
    check(
        &shared(),
        &[
            ("cdn-max-age", &[(CDN, "max-age=3600")], true),
            ("cdn-max-age-max", &[(CDN, "max-age=2147483648")], true),
            ("cdn-max-age-max-plus", &[(CDN, "max-age=99999999999")], true),
            ("cdn-max-age-age", &[("date", "@0"), (CDN, "max-age=3600"), ("age", "7200")], false),
            ("cdn-max-age-space-before-equals", &[(CC, "max-age=1"), (CDN, "max-age =100")], false),
            ("cdn-max-age-space-after-equals", &[(CC, "max-age=1"), (CDN, "max-age= 100")], false),
            ("cdn-max-age-0", &[(CDN, "max-age=0")], false),
            ("cdn-max-age-extension", &[(CDN, "foobar, max-age=3600")], true),
            ("cdn-max-age-expires", &[(CDN, "max-age=3600"), ("expires", "@-10000")], true),
            (
                "cdn-max-age-cc-max-age-invalid-expires",
                &[(CDN, "max-age=3600"), ("expires", "0")],
                true,
            ),
            ("cdn-max-age-0-expires", &[(CDN, "max-age=0"), ("expires", "@10000")], false),
            ("cdn-max-age-short-cc-max-age", &[(CC, "max-age=1"), (CDN, "max-age=3600")], true),
            ("cdn-max-age-long-cc-max-age", &[(CC, "max-age=3600"), (CDN, "max-age=1")], false),
            (
                "cdn-private",
                &[(CDN, "private"), (CC, "max-age=10000"), ("expires", "@10000")],
                false,
            ),
            (
                "cdn-no-cache",
                &[(CDN, "no-cache"), (CC, "max-age=10000"), ("expires", "@10000")],
                false,
            ),
            ("cdn-no-store-cc-fresh", &[(CC, "max-age=10000"), (CDN, "no-store")], false),
            ("cdn-fresh-cc-nostore", &[(CC, "no-store"), (CDN, "max-age=10000")], true),
            (
                "cdn-cc-invalid-sh-type-unknown",
                &[(CDN, "max-age=10000, &&&&&"), (CC, "no-store")],
                false,
            ),
            (
                "cdn-cc-invalid-sh-type-wrong",
                &[(CDN, "max-age=\"10000\""), (CC, "no-store")],
                false,
            ),
            ("an empty one is ignored", &[(CDN, ""), (CC, "max-age=3600")], true),
        ],
    );
}

#[test]
fn statuses_are_stored_as_the_suite_wants_it() {
    let modified: Fields = &[("last-modified", "@-86400"), ("date", "@0")];
    let public: Fields = &[("last-modified", "@-86400"), ("date", "@0"), (CC, "public")];
    let understood: Fields = &[(CC, "max-age=3600, no-store, must-understand")];
    let fresh: Fields = &[(CC, "max-age=3600")];
    for options in [Options::PRIVATE, shared()] {
        let cached = |status, fields| is_cached(&store(&options, "GET", status, &[], fields), 1);
        for status in [200, 203, 204, 404, 405, 410, 414, 501] {
            assert!(cached(status, modified), "heuristic-{status}-cached");
        }
        for status in [201, 202, 302, 307, 400, 403, 500, 502, 503, 504, 599] {
            assert!(!cached(status, modified), "heuristic-{status}-not_cached");
        }
        assert!(cached(599, public));
        for status in [
            200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504,
            599,
        ] {
            assert!(cached(status, fresh), "status-{status}-fresh");
            assert!(!cached(status, &[("expires", "@-5000"), ("date", "@0")]));
        }
        for status in [100, 103, 206, 304, 407, 412, 416] {
            assert!(!cached(status, fresh), "{status}");
        }
        assert!(cached(206, &[(CC, "max-age=3600"), ("content-range", "bytes 0-4/10")]));
        assert!(cached(200, understood), "status-200-must-understand");
        assert!(!cached(599, understood), "status-599-must-understand");
    }
}

#[test]
fn what_is_not_stored_has_a_reason() {
    use Unstorable as No;
    const AUTH: Fields = &[("authorization", "FOO")];
    let private = Options::PRIVATE;
    for (options, method, status, request, response, expected) in [
        (shared(), "GET", 200, AUTH, &[("expires", "@2592000")][..], Some(No::Authorization)),
        (shared(), "GET", 200, AUTH, &[(CC, "max-age=3600, public")], None),
        (shared(), "GET", 200, AUTH, &[(CC, "max-age=3600, must-revalidate")], None),
        (shared(), "GET", 200, AUTH, &[(CC, "s-maxage=3600")], None),
        (private, "GET", 200, AUTH, &[(CC, "max-age=3600")], None),
        (shared(), "GET", 200, &[], &[(CC, "private, max-age=3600")], Some(No::Private)),
        (
            Options::SHARED,
            "GET",
            200,
            &[],
            &[(CC, "max-age=9"), ("set-cookie", "a")],
            Some(No::SetCookie),
        ),
        (Options::SHARED, "GET", 200, &[], &[(CC, "max-age=9, public"), ("set-cookie", "a")], None),
        (private, "GET", 200, &[], &[(CC, "max-age=9"), ("set-cookie", "a")], None),
        (private, "GET", 200, &[(CC, "no-store")], &[(CC, "max-age=9")], Some(No::RequestNoStore)),
        (private, "GET", 200, &[], &[(CC, "no-store, max-age=9")], Some(No::NoStore)),
        (private, "GET", 599, &[], &[(CC, "must-understand, max-age=9")], Some(No::NotUnderstood)),
        (private, "GET", 304, &[], &[(CC, "max-age=9")], Some(No::Status)),
        (private, "GET", 206, &[], &[(CC, "max-age=9")], Some(No::Part)),
        (private, "GET", 302, &[], &[("etag", "\"a\"")], Some(No::NotAllowed)),
        (private, "GET", 302, &[], &[(CC, "private"), ("etag", "\"a\"")], None),
        (private, "GET", 200, &[], &[], Some(No::OfNoUse)),
        (private, "GET", 200, &[], &[("etag", "\"a\"")], None),
        (private, "GET", 200, &[], &[(CC, "max-age=0, stale-while-revalidate=9")], None),
        (private, "GET", 200, &[], &[(CC, "max-age=9, no-cache")], Some(No::OfNoUse)),
        (private, "GET", 200, &[], &[(CC, "max-age=9"), ("vary", "a, *")], Some(No::Vary)),
        (private, "HEAD", 200, &[], &[(CC, "max-age=9")], Some(No::Method)),
        (private, "PUT", 200, &[], &[(CC, "max-age=9")], Some(No::Method)),
        (private, "QUERY", 200, &[], &[(CC, "max-age=9")], Some(No::Method)),
        (private, "POST", 200, &[], &[(CC, "max-age=9")], Some(No::Method)),
        (
            private,
            "POST",
            200,
            &[],
            &[(CC, "max-age=9"), ("content-location", "/y")],
            Some(No::Method),
        ),
        (
            private,
            "POST",
            200,
            &[],
            &[("last-modified", "@-900"), ("content-location", "/x")],
            Some(No::Method),
        ),
        // method-POST
        (
            private,
            "POST",
            200,
            &[],
            &[("expires", "@2592000"), ("content-location", "http://a.example/x")],
            None,
        ),
    ] {
        let reason = store(&options, method, status, request, response).err();
        assert_eq!(reason, expected, "{method} {status} {request:?} {response:?}");
        assert!(reason.is_none_or(|reason| !reason.as_str().is_empty()));
    }
    let keyed = Options { keyed_by_body: true, ..private };
    assert!(store(&keyed, "POST", 200, &[], &[(CC, "max-age=9")]).is_ok());
    assert!(store(&keyed, "QUERY", 200, &[], &[(CC, "max-age=9")]).is_ok());
    assert!(store(&keyed, "POST", 200, &[], &[("last-modified", "@-900")]).is_err());
}

#[test]
fn requests_get_what_they_ask_for() {
    const DAY: Fields = &[(CC, "max-age=3600")];
    const SECOND: Fields = &[(CC, "max-age=1")];
    let fresh = |age| Lookup::Fresh { age };
    let stale = |age| Lookup::Stale { age };
    let (asks, is_stale) = (Lookup::Validate(Why::Request), Lookup::Validate(Why::Stale));
    for (id, response, request, expected) in [
        ("ccreq-ma0", DAY, &[(CC, "max-age=0")][..], asks),
        ("ccreq-ma1", DAY, &[(CC, "max-age=1")], asks),
        ("a max-age that is kept", DAY, &[(CC, "max-age=3")], fresh(3)),
        (
            "ccreq-magreaterage",
            &[(CC, "max-age=3600"), ("age", "1800")],
            &[(CC, "max-age=600")],
            asks,
        ),
        ("ccreq-max-stale", SECOND, &[(CC, "max-stale=1000")], stale(3)),
        (
            "ccreq-max-stale-age",
            &[(CC, "max-age=1500"), ("age", "2000")],
            &[(CC, "max-stale=1000")],
            stale(2003),
        ),
        ("max-stale of any length", SECOND, &[(CC, "max-stale")], stale(3)),
        ("max-stale to the second", SECOND, &[(CC, "max-stale=2")], stale(3)),
        (
            "max-stale, and it is renewed",
            &[(CC, "max-age=1, stale-while-revalidate=9")],
            &[(CC, "max-stale=9")],
            Lookup::Revalidating { age: 3 },
        ),
        (
            "max-stale goes before stale-while-revalidate",
            &[(CC, "max-age=1, stale-while-revalidate=9")],
            &[(CC, "max-stale=1")],
            is_stale,
        ),
        ("too stale", SECOND, &[(CC, "max-stale=1")], is_stale),
        (
            "must-revalidate goes first",
            &[(CC, "max-age=1, must-revalidate")],
            &[(CC, "max-stale")],
            is_stale,
        ),
        (
            "no-cache goes first",
            &[(CC, "max-age=1, no-cache"), ("etag", "\"a\"")],
            &[(CC, "max-stale")],
            Lookup::Validate(Why::NoCache),
        ),
        ("ccreq-min-fresh", &[(CC, "max-age=1500")], &[(CC, "min-fresh=2000")], asks),
        (
            "ccreq-min-fresh-age",
            &[(CC, "max-age=1500"), ("age", "1000")],
            &[(CC, "min-fresh=1000")],
            asks,
        ),
        ("min-fresh to the second", &[(CC, "max-age=1500")], &[(CC, "min-fresh=1497")], fresh(3)),
        ("ccreq-no-cache", DAY, &[(CC, "no-cache")], asks),
        ("ccreq-no-store", DAY, &[(CC, "no-store")], asks),
        ("ccreq-oic", SECOND, &[(CC, "only-if-cached")], Lookup::Unavailable),
        (
            "only if cached, and it may be stale",
            &[(CC, "max-age=1, stale-while-revalidate=9")],
            &[(CC, "only-if-cached")],
            stale(3),
        ),
        ("only if cached, and it is", DAY, &[(CC, "only-if-cached")], fresh(3)),
        ("pragma-request-no-cache", DAY, &[("pragma", "no-cache")], asks),
        ("pragma-request-extension", DAY, &[("pragma", "unrecognised-extension")], fresh(3)),
        (
            "what the harness sends",
            DAY,
            &[(CC, "nothing-to-see-here"), ("pragma", "foo")],
            fresh(3),
        ),
        (
            "cc-resp-immutable-fresh",
            &[(CC, "max-age=9, immutable")],
            &[(CC, "max-age=0")],
            fresh(3),
        ),
        (
            "cc-resp-immutable-stale",
            &[(CC, "max-age=2, immutable")],
            &[(CC, "max-age=0")],
            is_stale,
        ),
        ("who insists gets it", &[(CC, "max-age=9, immutable")], &[(CC, "no-cache")], asks),
        (
            "who wants it fresh waits",
            &[(CC, "max-age=1, stale-while-revalidate=9")],
            &[(CC, "max-age=60")],
            is_stale,
        ),
    ] {
        let stored = get(&Options::PRIVATE, response).unwrap();
        assert_eq!(look(&stored, Mode::Default, request, PAUSE), expected, "{id}");
    }
}

#[test]
fn no_age_at_all_is_a_way_to_say_ask() {
    let stored = get(&Options::PRIVATE, &[(CC, "max-age=9")]).unwrap();
    for (request, expected) in [
        (&[(CC, "max-age=0")][..], Lookup::Validate(Why::Request)),
        (&[(CC, "max-age=1")], Lookup::Fresh { age: 0 }),
        (&[(CC, "max-age=0, only-if-cached")], Lookup::Unavailable),
    ] {
        assert_eq!(look(&stored, Mode::Default, request, 0), expected, "{request:?}");
    }
}

#[test]
fn modes_are_those_of_fetch() {
    let (asks, is_stale) = (Lookup::Validate(Why::Request), Lookup::Validate(Why::Stale));
    let (fresh, stale) = (Lookup::Fresh { age: 3 }, Lookup::Stale { age: 3 });
    const FRESH: Fields = &[(CC, "max-age=9, must-revalidate")];
    const STALE: Fields = &[(CC, "max-age=1, must-revalidate"), ("etag", "\"a\"")];
    const IMMUTABLE: Fields = &[(CC, "max-age=9, immutable")];
    for (mode, for_fresh, for_stale, for_immutable, reads, stores, may_ask) in [
        (Mode::Default, fresh, is_stale, fresh, true, true, true),
        (Mode::NoStore, asks, asks, asks, false, false, true),
        (Mode::Reload, asks, asks, asks, false, true, true),
        (Mode::NoCache, asks, asks, fresh, true, true, true),
        (Mode::ForceCache, fresh, stale, fresh, true, true, true),
        (Mode::OnlyIfCached, fresh, stale, fresh, true, true, false),
    ] {
        for (response, expected) in
            [(FRESH, for_fresh), (STALE, for_stale), (IMMUTABLE, for_immutable)]
        {
            let stored = get(&Options::PRIVATE, response).unwrap();
            assert_eq!(look(&stored, mode, &[], PAUSE), expected, "{mode:?} {response:?}");
        }
        let demand = Demand::of(mode, &HeaderMap::new());
        assert_eq!((demand.reads(), demand.stores(), demand.may_ask()), (reads, stores, may_ask));
    }
}

#[test]
fn modes_are_told_to_the_caches_on_the_way() {
    for (mode, expected) in [
        (Mode::Default, &[][..]),
        (Mode::ForceCache, &[]),
        (Mode::NoCache, &[(CC, "max-age=0")]),
        (Mode::Reload, &[(CC, "no-cache"), ("pragma", "no-cache")]),
        (Mode::NoStore, &[(CC, "no-cache"), ("pragma", "no-cache")]),
    ] {
        let mut request = HeaderMap::new();
        Demand { mode, ..Demand::default() }.tell(&mut request);
        assert_eq!(request, headers(expected), "{mode:?}");
        let mut own = headers(&[(CC, "x"), ("pragma", "y")]);
        Demand { mode, ..Demand::default() }.tell(&mut own);
        assert_eq!(own, headers(&[(CC, "x"), ("pragma", "y")]));
    }
}

#[test]
fn stale_while_revalidate_ends_on_its_last_second() {
    let stored = get(&Options::PRIVATE, &[(CC, "max-age=1, stale-while-revalidate=4")]).unwrap();
    for (seconds, expected) in [
        (0, Lookup::Fresh { age: 0 }),
        (1, Lookup::Revalidating { age: 1 }),
        (5, Lookup::Revalidating { age: 5 }),
        (6, Lookup::Validate(Why::Stale)),
    ] {
        assert_eq!(look(&stored, Mode::Default, &[], seconds), expected, "{seconds}");
    }
    let just_over = after(5) + Duration::from_millis(1);
    let lookup = Demand::default().look_up(&stored.policy, just_over);
    assert_eq!(lookup, Lookup::Validate(Why::Stale));
}

#[test]
fn errors_are_replaced_where_nothing_forbids_it() {
    let lenient = Options { stale_if_error: 60, ..Options::PRIVATE };
    let lenient_shared = Options { stale_if_error: 60, ..shared() };
    for (id, options, response, request, expected) in [
        ("stale-close", lenient, &[(CC, "max-age=2")][..], &[][..], true),
        ("stale-close, shared", lenient_shared, &[(CC, "max-age=2")], &[], true),
        ("not by default", Options::PRIVATE, &[(CC, "max-age=2")], &[], false),
        ("stale-sie-close", Options::PRIVATE, &[(CC, "max-age=2, stale-if-error=60")], &[], true),
        ("the response says no", lenient, &[(CC, "max-age=2, stale-if-error=0")], &[], false),
        ("stale-close-must-revalidate", lenient, &[(CC, "max-age=2, must-revalidate")], &[], false),
        (
            "it goes before stale-if-error",
            lenient,
            &[(CC, "max-age=2, must-revalidate, stale-if-error=60")],
            &[],
            false,
        ),
        (
            "stale-close-no-cache",
            lenient,
            &[(CC, "max-age=2, no-cache"), ("etag", "\"a\"")],
            &[],
            false,
        ),
        (
            "stale-close-proxy-revalidate",
            lenient_shared,
            &[(CC, "max-age=2, proxy-revalidate")],
            &[],
            false,
        ),
        ("stale-close-s-maxage=2", lenient_shared, &[(CC, "max-age=2, s-maxage=2")], &[], false),
        ("proxy-revalidate, private", lenient, &[(CC, "max-age=2, proxy-revalidate")], &[], true),
        ("s-maxage=2, private", lenient, &[(CC, "max-age=2, s-maxage=2")], &[], true),
        (
            "the request says yes",
            Options::PRIVATE,
            &[(CC, "max-age=2")],
            &[(CC, "stale-if-error=60")],
            true,
        ),
        ("the request says no", lenient, &[(CC, "max-age=2")], &[(CC, "stale-if-error=0")], false),
        (
            "who wants it fresh gets the error",
            lenient,
            &[(CC, "max-age=2")],
            &[(CC, "max-age=60")],
            false,
        ),
        ("no-cache of the request", lenient, &[(CC, "max-age=2")], &[(CC, "no-cache")], false),
        ("no-store of the request", lenient, &[(CC, "max-age=2")], &[(CC, "no-store")], false),
        ("max-stale of the request", lenient, &[(CC, "max-age=2")], &[(CC, "max-stale=0")], false),
    ] {
        let stored = get(&options, response).unwrap();
        let demand = Demand::of(Mode::Default, &headers(request));
        let age = demand.in_place_of_error(&stored.policy, after(PAUSE));
        assert_eq!(age, expected.then_some(3), "{id}");
    }
    let stored = get(&Options::PRIVATE, &[(CC, "max-age=2, stale-if-error=60")]).unwrap();
    for (mode, seconds, expected) in [
        (Mode::Default, 62, Some(62)),
        (Mode::Default, 63, None),
        (Mode::NoCache, 3, None),
        (Mode::Reload, 3, None),
        (Mode::NoStore, 3, None),
    ] {
        let demand = Demand::of(mode, &HeaderMap::new());
        let age = demand.in_place_of_error(&stored.policy, after(seconds));
        assert_eq!(age, expected, "{mode:?} after {seconds} s");
    }
}

#[test]
fn routes_have_lifetimes_of_their_own() {
    let with = |ttl| Options { ttl: Some(ttl), ..Options::PRIVATE };
    for (ttl, status, response, lifetime) in [
        (Ttl::Force(60), 200, &[(CC, "max-age=3600")][..], Ok(60)),
        (Ttl::Force(60), 200, &[(CC, "no-store")], Ok(60)),
        (Ttl::Force(60), 200, &[(CC, "no-cache"), ("age", "100")], Ok(60)),
        (Ttl::Force(60), 200, &[("expires", "0")], Ok(60)),
        (Ttl::Force(60), 500, &[], Err(Unstorable::NotAllowed)),
        (Ttl::Force(60), 404, &[(CC, "max-age=5")], Ok(5)),
        (Ttl::Default(60), 200, &[], Ok(60)),
        (Ttl::Default(60), 200, &[("last-modified", "@-86400")], Ok(60)),
        (Ttl::Default(60), 200, &[(CC, "max-age=5")], Ok(5)),
        (Ttl::Default(60), 200, &[(CC, "no-store")], Err(Unstorable::NoStore)),
        (Ttl::Default(60), 302, &[], Err(Unstorable::NotAllowed)),
        (Ttl::Cap(60), 200, &[(CC, "max-age=3600")], Ok(60)),
        (Ttl::Cap(60), 200, &[(CC, "max-age=5")], Ok(5)),
        (Ttl::Cap(60), 200, &[("last-modified", "@-86400")], Ok(60)),
        (Ttl::Cap(60), 200, &[], Err(Unstorable::OfNoUse)),
    ] {
        let stored = store(&with(ttl), "GET", status, &[], response);
        let found = stored.as_ref().map(|stored| stored.policy.ttl(received()));
        assert_eq!(found.map_err(|reason| *reason), lifetime, "{ttl:?} {status} {response:?}");
    }
    let negative = [(StatusCode::NOT_FOUND, 2), (StatusCode::BAD_GATEWAY, 1)];
    let options = Options { negative: &negative, ..Options::PRIVATE };
    for (status, response, lifetime) in [
        (404, &[][..], Some(2)),
        (502, &[], Some(1)),
        (404, &[(CC, "max-age=9")], Some(9)),
        (404, &[(CC, "no-store")], None),
        (403, &[], None),
    ] {
        let stored = store(&options, "GET", status, &[], response);
        let found = stored.ok().map(|stored| stored.policy.ttl(received()));
        assert_eq!(found, lifetime, "{status} {response:?}");
    }
    let shared = Options { ttl: Some(Ttl::Force(60)), ..Options::SHARED };
    assert_eq!(get(&shared, &[(CC, "private")]).err(), Some(Unstorable::Private));
    // RFC 9111, section 3: `private` is leave for a cache of one user alone.
    let fields = &[(CC, "private=\"a\""), ("etag", "\"a\"")];
    let found = |options| store(options, "GET", 299, &[], fields).err();
    assert_eq!(found(&Options::SHARED), Some(Unstorable::NotAllowed));
    assert_eq!(found(&Options::PRIVATE), None);
    let authorized = store(&shared, "GET", 200, &[("authorization", "x")], &[]);
    assert_eq!(authorized.err(), Some(Unstorable::Authorization));
}

#[test]
fn a_304_starts_a_new_life() {
    let uri = Uri::from_static("http://a.example/x");
    let first: Fields = &[(CC, "max-age=2"), ("etag", "\"a\""), ("age", "1"), ("date", "@-1")];
    for (id, not_modified, expected) in [
        ("as before", &[("date", "@10")][..], Ok(Lookup::Fresh { age: 1 })),
        ("without a date", &[], Ok(Lookup::Fresh { age: 1 })),
        ("with an age", &[("age", "2")], Ok(Lookup::Validate(Why::Stale))),
        ("longer", &[(CC, "max-age=9"), ("age", "2")], Ok(Lookup::Fresh { age: 3 })),
        ("not as it is", &[(CC, "no-cache, max-age=9")], Ok(Lookup::Validate(Why::NoCache))),
        ("not any more", &[(CC, "no-store")], Err(Unstorable::NoStore)),
        ("for nobody else", &[("vary", "*")], Err(Unstorable::Vary)),
    ] {
        let mut head = headers(first);
        fields::to_stored(&mut head, received(), &Options::PRIVATE);
        update::freshen(&mut head, headers(not_modified), after(10), &Options::PRIVATE);
        let exchange = Exchange {
            method: &Method::GET,
            uri: &uri,
            request: &headers(&[("if-none-match", "\"a\"")]),
            status: StatusCode::OK,
            response: &head,
            asked: after(10),
            received: after(10),
        };
        let stored = admit(&exchange, &Options::PRIVATE);
        let lookup = stored.map(|stored| look(&stored, Mode::Default, &[], 11));
        assert_eq!(lookup, expected, "{id}");
    }
}

//! What a hit costs: nothing that is allocated.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use super::{
    admission::admit,
    answer::{Answer, Held, Stored},
    conditional,
    key::same_target,
    lookup::{Demand, Lookup, Mode},
    options::Options,
    policy::Exchange,
};

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    fields.iter().map(field).collect()
}

#[test]
fn a_hit_allocates_nothing() {
    let request = headers(&[
        ("accept", "application/json"),
        ("accept-language", "en, de;q=0.5"),
        ("cache-control", "max-age=600, x=\"y, z\""),
        ("if-none-match", "\"1\", \"2\""),
        ("range", "bytes=0-4"),
    ]);
    let response = headers(&[
        ("cache-control", "max-age=3600"),
        ("vary", "Accept, Accept-Language, Foo"),
        ("etag", "\"3\""),
    ]);
    let received = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let uri = Uri::from_static("http://a.example/x?y");
    let exchange = Exchange {
        method: &Method::GET,
        uri: &uri,
        request: &request,
        status: StatusCode::OK,
        response: &response,
        asked: received,
        received,
    };
    let stored = admit(&exchange, &Options::PRIVATE).unwrap();
    let body = Held::All(100);
    let head = Stored { status: StatusCode::OK, head: &response, body, received };

    let info = allocation_counter::measure(|| {
        assert!(same_target(&uri, &uri) && !conditional::is_for_the_origin(&request));
        assert!(stored.selector.matches(&request));
        let demand = Demand::of(Mode::Default, &request);
        let lookup = demand.look_up(&stored.policy, received + Duration::from_secs(7));
        assert_eq!(lookup, Lookup::Fresh { age: 7 });
        assert!(matches!(Answer::of(&Method::GET, &request, &head), Answer::Part(_)));
    });
    assert_eq!(info.count_total, 0);
}

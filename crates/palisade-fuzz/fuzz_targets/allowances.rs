//! What servers say of their rate limits. The input: header fields, a line each.

#![no_main]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use palisade_fields::Allowances;
use palisade_fuzz::fields;

fuzz_target!(|data: &[u8]| {
    let headers = fields(data.split(|byte| *byte == b'\n'));
    let allowances = Allowances::of(&headers, now);
    assert!(allowances.iter().count() <= 4);
    for quota in allowances.iter() {
        assert!(quota.remaining.is_some() || quota.reset.is_some(), "{quota:?} says nothing");
    }
    // The order of fields with different names means nothing: RFC 9110, section 5.3.
    let mut names: Vec<_> = headers.keys().collect();
    names.reverse();
    let mut turned = HeaderMap::new();
    for name in names {
        headers.get_all(name).iter().for_each(|value| {
            turned.append(name, value.clone());
        });
    }
    let ambiguous = [
        "x-rate-limit-",
        "rate-limit-",
        "x-ratelimit-bucket",
        "x-ratelimit-resource",
        "ratelimit-",
    ];
    if !headers.keys().any(|name| ambiguous.iter().any(|start| name.as_str().starts_with(start))) {
        assert_eq!(allowances, Allowances::of(&turned, now));
    }
});

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

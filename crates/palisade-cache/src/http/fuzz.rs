//! What must hold for any bytes that a store hands over.

#![expect(clippy::missing_panics_doc, reason = "to panic is what they are for")]

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method};

use super::{CacheKey, CacheStatus, CachedBody, Variant, ask, entry, respond};
use crate::rules::lookup::Demand;

/// A body that is longer than this is none that the bytes were written for.
const LONGEST: u64 = 1 << 16;

/// A head that is read is written and read as the same one, and can be used.
pub fn fuzz_stored_head(bytes: &[u8]) {
    let head = Bytes::copy_from_slice(bytes);
    let Some(length) = entry::body_len(head.clone()).filter(|length| *length <= LONGEST) else {
        return;
    };
    let body = Bytes::from(vec![b'x'; length as usize]);
    let Ok(read) = Variant::from_bytes(head, body.clone()) else {
        return;
    };
    let written = read.head_to_bytes();
    let again = Variant::from_bytes(written.clone(), body).expect("it was written");
    assert_eq!(again.head_to_bytes(), written);
    assert_eq!(again.head().headers(), read.head().headers());
    assert_eq!(again.head().trailers(), read.head().trailers());
    assert!(again.weight() == read.weight() && again.stamp() == read.stamp());
    assert!(again.head().keep() == read.head().keep());
    use_it(&read);
}

/// Nothing that is asked for breaks on it.
fn use_it(variant: &Variant) {
    let head = variant.head();
    for seconds in [0, 1, 1_800_000_000, u32::MAX.into()] {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let _ = (head.policy.ttl(now), Demand::default().look_up(&head.policy, now));
        let _ = Demand::default().in_place_of_error(&head.policy, now);
    }
    let fields: [&[(&str, &str)]; 6] = [
        &[],
        &[("range", "bytes=0-0")],
        &[("range", "bytes=-2")],
        &[("range", "bytes=1-")],
        &[("range", "bytes=18446744073709551614-18446744073709551615")],
        &[("if-none-match", "*"), ("accept-language", "en, de;q=0.5"), ("foo", "a, b")],
    ];
    for fields in fields {
        let mut request = HeaderMap::new();
        for (name, value) in fields {
            request.append(HeaderName::from_static(name), value.parse().expect("it is a value"));
        }
        let _ = head.selector.matches(&request);
        for method in [Method::GET, Method::HEAD] {
            let answer = ask::answer(&method, &request, variant);
            let response: http::Response<CachedBody<String>> =
                respond::stored(variant, &method, answer, 7, CacheStatus::Hit);
            assert!(response.headers().len() <= head.headers.len() + 4);
        }
    }
    if let Some(part) = head.part {
        assert_eq!(part.held().len(), variant.body().len() as u64);
        let _ = (part.missing(), part.combine(&part), part.is_complete());
    }
}

/// A key that is read is written as the same bytes.
pub fn fuzz_key(bytes: &[u8]) {
    let Ok(key) = CacheKey::from_bytes(Bytes::copy_from_slice(bytes)) else {
        return;
    };
    assert_eq!(key.to_bytes(), bytes);
    assert!(CacheKey::from_bytes(key.to_bytes()).is_ok_and(|again| again == key));
}

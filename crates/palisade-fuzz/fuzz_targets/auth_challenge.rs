//! What WWW-Authenticate asks for. The input: values of the field, a line each.

#![no_main]

use http::{HeaderMap, HeaderValue, header::WWW_AUTHENTICATE};
use libfuzzer_sys::fuzz_target;
use palisade_auth::fuzz_challenge;

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    let values = data.split(|byte| *byte == b'\n').map(HeaderValue::from_bytes);
    values.flatten().for_each(|value| {
        headers.append(WWW_AUTHENTICATE, value);
    });
    fuzz_challenge(&headers);
});

//! The answer of a token endpoint. The input: the status, header fields, a line each, an empty line,
//! and the body.

#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_auth::fuzz_token_response;
use palisade_fuzz::{fields, numbers};

fuzz_target!(|data: &[u8]| {
    let end = data.windows(2).position(|pair| pair == b"\n\n").unwrap_or(data.len());
    let (head, body) = data.split_at(end);
    let mut lines = head.split(|byte| *byte == b'\n');
    let [status] = numbers(lines.next().unwrap_or_default());
    let status = u16::try_from(status).unwrap_or(200);
    fuzz_token_response(status, &fields(lines), body.get(2..).unwrap_or_default());
});

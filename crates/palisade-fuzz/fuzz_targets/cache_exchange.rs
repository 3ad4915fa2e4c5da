//! All that is decided of one exchange. The input: a status and three times on the first line, the
//! fields of the request, a line each, an empty line, and those of the response.

#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_cache::fuzz_exchange;
use palisade_fuzz::{numbers, two_heads};

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let [status, times @ ..] = numbers::<4>(lines.next().unwrap_or_default());
    let (request, response) = two_heads(lines);
    let status = u16::try_from(status).unwrap_or(200);
    fuzz_exchange(&request, &response, status, times.map(|seconds| seconds as u32));
});

//! Which request a response is for. The input: fields of a request, a line each, an empty
//! line, and those of a response.

#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_cache::fuzz_vary;
use palisade_fuzz::two_heads;

fuzz_target!(|data: &[u8]| {
    let (request, response) = two_heads(data.split(|byte| *byte == b'\n'));
    fuzz_vary(&request, &response);
});

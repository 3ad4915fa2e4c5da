//! Conditional requests, and the validators that answer them. The input: fields of a request, a line each, an empty
//! line, and those of a response.

#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_cache::fuzz_conditional;
use palisade_fuzz::two_heads;

fuzz_target!(|data: &[u8]| {
    let (request, stored) = two_heads(data.split(|byte| *byte == b'\n'));
    fuzz_conditional(&request, &stored);
});

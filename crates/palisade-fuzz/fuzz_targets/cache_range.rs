//! Ranges of bodies and of parts. The input: the length of a body on the first line, the fields of a
//! request, a line each, an empty line, and those of a response.

#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_cache::fuzz_range;
use palisade_fuzz::{numbers, two_heads};

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let [length] = numbers(lines.next().unwrap_or_default());
    let (request, response) = two_heads(lines);
    fuzz_range(&request, &response, length);
});

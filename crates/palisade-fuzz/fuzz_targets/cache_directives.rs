//! What Cache-Control, CDN-Cache-Control and Pragma say. The input: header fields, a line each.

#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_cache::fuzz_directives;
use palisade_fuzz::fields;

fuzz_target!(|data: &[u8]| fuzz_directives(&fields(data.split(|byte| *byte == b'\n'))));

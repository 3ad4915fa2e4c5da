//! References to other resources. The input: a reference.

#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_cache::fuzz_location;

fuzz_target!(|data: &[u8]| fuzz_location(data));

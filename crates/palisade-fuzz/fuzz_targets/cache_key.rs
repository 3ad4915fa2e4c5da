//! Keys of stored responses. The input: what a store hands over, which may be anything.

#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_cache::fuzz_key;

fuzz_target!(|data: &[u8]| fuzz_key(data));

//! Heads of stored responses. The input: what a store hands over, which may be anything.

#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_cache::fuzz_stored_head;

fuzz_target!(|data: &[u8]| fuzz_stored_head(data));

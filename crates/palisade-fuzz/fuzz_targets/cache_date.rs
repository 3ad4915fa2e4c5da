//! Dates of HTTP. The input: a date.

#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_cache::fuzz_date;

fuzz_target!(|data: &[u8]| fuzz_date(data));

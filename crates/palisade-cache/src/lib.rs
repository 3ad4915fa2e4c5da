//! The rules of an HTTP cache, RFC 9111, for a layer that is to come.
//!
//! Nothing is public yet. What is here decides and does nothing else: it reads
//! heads of requests and of responses, is told the time, and says what a cache
//! may do. The module `rules` opens with a map.

#![cfg_attr(palisade_docsrs, feature(doc_cfg))]

#[cfg(any(test, feature = "__fuzz"))]
mod fuzz;
#[cfg_attr(not(test), expect(dead_code, reason = "the layer comes next"))]
mod rules;
mod ttl;

#[cfg(any(test, feature = "__fuzz"))]
#[doc(hidden)]
pub use self::fuzz::{
    fuzz_conditional, fuzz_date, fuzz_directives, fuzz_exchange, fuzz_location, fuzz_range,
    fuzz_vary,
};
pub use self::ttl::{
    ByRequest, KeyFn, KeyOf, Lifetime, OneEach, Ttl, TtlFn, Weigh, WeighFn, key_fn, ttl_fn,
    weigh_fn,
};

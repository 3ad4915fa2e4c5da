//! A cache for services of any kind, of which nothing is known but how long an
//! answer is good.
//!
//! [`freshness`] decides, handed the time; [`store`] keeps.

#[allow(dead_code)]
mod freshness;
mod key;
mod lifetime;
#[allow(dead_code)]
mod store;
#[allow(dead_code)]
mod sync;
mod weight;

pub use self::{
    key::{ByRequest, KeyFn, KeyOf, key_fn},
    lifetime::{Lifetime, Ttl, TtlFn, ttl_fn},
    weight::{OneEach, Weigh, WeighFn, weigh_fn},
};

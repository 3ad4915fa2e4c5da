//! A cache for services of any kind, of which nothing is known but how long an
//! answer is good.
//!
//! `freshness` decides, handed the time; `store` keeps; `flight` is one call that
//! several wait for, and `shared` has both, under one order; `member` is a caller
//! that waits.

mod bell;
mod call;
mod errors;
mod flight;
mod freshness;
mod future;
mod handle;
mod key;
mod landing;
mod layer;
mod lifetime;
mod line;
mod member;
#[cfg(all(test, palisade_shuttle))]
mod models;
mod pause;
mod policy;
mod refresh;
mod rules;
mod service;
mod shared;
mod store;
mod weight;

pub use self::{
    call::Call,
    errors::{Errors, ToAll, ToOne},
    future::CacheFuture,
    handle::{CacheHandle, CacheStats},
    key::{ByRequest, KeyFn, KeyOf, key_fn},
    layer::CacheLayer,
    lifetime::{Lifetime, Ttl, TtlFn, ttl_fn},
    policy::{AnyError, Judge, Policy},
    refresh::{Inline, Refresh, Refresher},
    service::Cache,
    weight::{OneEach, Weigh, WeighFn, weigh_fn},
};

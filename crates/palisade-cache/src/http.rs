//! The HTTP cache: what the rules say, done with a store, a service and its bodies.

mod ask;
mod body;
mod body_key;
mod confirm;
mod entry;
mod error;
mod fetch;
mod fill;
mod flights;
mod future;
#[cfg(any(test, feature = "__fuzz"))]
mod fuzz;
mod key;
mod layer;
mod memory;
mod mode;
mod outcome;
mod partition;
mod pending;
mod pieces;
mod places;
mod plan;
mod readers;
mod recent;
mod respond;
mod route;
mod seat;
mod secret;
mod service;
mod settings;
mod splice;
mod status;
mod store;
mod storing;
mod upstream;
mod write;

#[cfg(any(test, feature = "__fuzz"))]
pub use self::fuzz::{fuzz_key, fuzz_stored_head};
pub use self::{
    body::CachedBody,
    body_key::{BodyKey, InMemory, Unread},
    entry::{Entry, StoredHead, Variant},
    error::FillError,
    future::ResponseFuture,
    key::{CacheKey, CacheKeyRef},
    layer::HttpCacheLayer,
    memory::MemoryStore,
    mode::CacheMode,
    partition::{
        ByCredentials, CachePartition, OnePartition, PartitionBy, PartitionFn, partition_fn,
    },
    route::{Route, RouteTtl},
    secret::Secret,
    service::HttpCache,
    settings::Collapse,
    status::CacheStatus,
    store::{Peek, Stamp, Store},
};

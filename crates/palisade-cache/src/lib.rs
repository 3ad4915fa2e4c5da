//! [Tower](tower_service) layers that cache.
//!
//! [`HttpCacheLayer`] caches responses as RFC 9111 has it: for one client, or
//! shared by many.
//!
//! ```
//! use std::{
//!     convert::Infallible,
//!     sync::atomic::{AtomicU32, Ordering},
//! };
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Empty, Full};
//! use palisade_cache::{CacheStatus, HttpCacheLayer, MemoryStore};
//! use palisade_core::BoxError;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! static CALLS: AtomicU32 = AtomicU32::new(0);
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! // In place of a client.
//! let api = service_fn(|_: Request<Empty<Bytes>>| async {
//!     CALLS.fetch_add(1, Ordering::Relaxed);
//!     let response = Response::builder().header("cache-control", "max-age=60");
//!     Ok::<_, Infallible>(response.body(Full::new(Bytes::from("[]"))).expect("it is valid"))
//! });
//!
//! let cache = HttpCacheLayer::private(MemoryStore::new(64 << 20));
//! let client = ServiceBuilder::new().layer(cache).service(api);
//!
//! for status in [CacheStatus::Miss, CacheStatus::Hit, CacheStatus::Hit] {
//!     let request = Request::get("https://api.example/users").body(Empty::new())?;
//!     let response = client.clone().oneshot(request).await?;
//!     assert_eq!(response.body().cache_status(), status);
//!     assert_eq!(response.into_body().collect().await?.to_bytes(), "[]");
//! }
//! assert_eq!(CALLS.load(Ordering::Relaxed), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Rules
//!
//! What may be stored and used is decided as RFC 9110, 9111, 5861, 8246, 9211 and
//! 9213 have it; [`Route`] says otherwise for some requests, [`CacheMode`] for
//! one. Nothing that is stored for one [`CachePartition`] is answered to
//! another, and nothing that `Vary` tells apart is mixed up, not even while the
//! service is down.
//!
//! A response is read while it is stored, and it is stored only if it is
//! complete. Requests for the same thing at the same time are sent as one, which
//! whoever polls drives: nothing is spawned, and nobody who leaves takes
//! anything from others. Who waits for another one holds a timer of tokio.

#![cfg_attr(palisade_docsrs, feature(doc_cfg))]

#[cfg(any(test, feature = "__fuzz"))]
mod fuzz;
mod http;
#[cfg_attr(not(test), expect(dead_code, reason = "they tell more than the layer asks yet"))]
mod rules;
mod sync;

pub use self::http::{
    BackgroundTask, BodyKey, ByCredentials, CacheKey, CacheKeyRef, CacheMode, CachePartition,
    CacheStatus, CachedBody, Collapse, Entry, FillError, HttpCache, HttpCacheLayer, InMemory,
    MemoryStore, OnePartition, PartitionBy, PartitionFn, Peek, ResponseFuture, Route, RouteTtl,
    Spawn, SpawnFn, Stamp, Store, StoredHead, Unread, Variant, partition_fn, spawn_fn,
};

#[cfg(any(test, feature = "__fuzz"))]
#[doc(hidden)]
pub use self::fuzz::{
    fuzz_conditional, fuzz_date, fuzz_directives, fuzz_exchange, fuzz_location, fuzz_range,
    fuzz_vary,
};

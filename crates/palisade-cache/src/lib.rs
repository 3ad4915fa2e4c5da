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
//! anything from others. Who waits for another one, or for a store that is not in
//! memory, holds a timer of tokio.
//!
//! Nobody joins a response of which nothing has come for a while, that is stale by
//! now, or that was asked for before something that made it invalid.
//! [`Collapse`] says what becomes of those who wait for one that fails. A
//! revalidation in the background of which nothing comes is not repeated by the
//! next request: there is a second until then, and twice as long each further
//! time, up to thirty.
//!
//! Responses are kept in a [`MemoryStore`], or in whatever a [`Store`] makes of
//! them: bytes, if it likes, which several processes share that have a [`Secret`]
//! in common.
//!
//! # A cache for any service
//!
//! [`CacheLayer`] keeps the answers of a service of whatever kind, of which it
//! knows nothing but how long they are good.
//!
//! ```
//! use std::{convert::Infallible, sync::{Arc, atomic::{AtomicU32, Ordering}}, time::Duration};
//! use palisade_cache::{CacheLayer, Ttl, ttl_fn};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Infallible> {
//! // In place of a client: the price of a share, if there is such a share.
//! let calls = Arc::new(AtomicU32::new(0));
//! let counted = calls.clone();
//! let api = service_fn(move |share: &'static str| {
//!     counted.fetch_add(1, Ordering::Relaxed);
//!     async move {
//!         tokio::time::sleep(Duration::from_millis(100)).await;
//!         Ok::<_, Infallible>((share == "ACME").then_some(7))
//!     }
//! });
//!
//! let layer = CacheLayer::new(Duration::from_secs(60))
//!     .max_entries(1000)
//!     // What is not there may come soon.
//!     .ttl(ttl_fn(|_: &&str, price: &Option<u32>| match price {
//!         Some(_) => Ttl::For(Duration::from_secs(60)),
//!         None => Ttl::For(Duration::from_secs(1)),
//!     }));
//! let cache = layer.handle();
//! let client = ServiceBuilder::new().layer(layer).service(api);
//! let price = |share| client.clone().oneshot(share);
//!
//! // Two who ask at the same time have one call between them, and later ones none.
//! let (one, other) = tokio::join!(price("ACME"), price("ACME"));
//! assert_eq!((one?, other?, price("ACME").await?), (Some(7), Some(7), Some(7)));
//! assert_eq!(calls.load(Ordering::Relaxed), 1);
//!
//! // Until it is told otherwise, or a minute has passed.
//! cache.invalidate(&"ACME");
//! price("ACME").await?;
//! tokio::time::advance(Duration::from_secs(60)).await;
//! price("ACME").await?;
//! assert_eq!(calls.load(Ordering::Relaxed), 3);
//! # Ok(())
//! # }
//! ```
//!
//! | to | set |
//! |---|---|
//! | bound what is kept | [`max_entries`](CacheLayer::max_entries), [`max_weight`](CacheLayer::max_weight) |
//! | say which requests have the same answer | [`key`](CacheLayer::key) |
//! | keep some answers for longer, or for less, or not at all | [`ttl`](CacheLayer::ttl) |
//! | share errors, and keep them | [`share_errors`](CacheLayer::share_errors) |
//! | have each request that misses make its own call | [`single_flight`](CacheLayer::single_flight) |
//! | spread what is fetched anew | [`jitter`](CacheLayer::jitter), [`early_refresh`](CacheLayer::early_refresh) |
//! | answer at once, or while the service is down | [`stale_while_revalidate`](CacheLayer::stale_while_revalidate), [`background`](CacheLayer::background), [`stale_if_error`](CacheLayer::stale_if_error), [`failures`](CacheLayer::failures) |
//! | look in, put in, take out | [`handle`](CacheLayer::handle) |
//!
//! Responses are cloned for whoever asks, so they should be cheap to clone: an
//! `Arc`, or `Bytes`. Requests that miss at the same time, by the same key, have
//! one call between them. It belongs to none of them: if one is dropped, or is
//! not polled any more, another goes on with it. It is polled by them alone,
//! without a task. If it fails or panics, that goes to one, and the next one calls
//! again.
//!
//! The layer is always ready, whatever is below it: a full limiter or an open
//! breaker keeps nobody from what is there. So put it above those; what sheds
//! load by readiness does not see through it. Put it above timeouts as well: who
//! comes while a call hangs waits for that call. And a service must not ask the
//! cache for the key that it is called for: it would wait for itself.
//!
//! A hit takes a hash and a shared lock, reads the clock unless it is kept for
//! ever, and allocates nothing. A miss makes five allocations.

#![cfg_attr(palisade_docsrs, feature(doc_cfg))]

mod background;
#[cfg(any(test, feature = "__fuzz"))]
mod fuzz;
mod http;
mod rules;
mod sync;
mod ttl;
mod wire;

pub use self::background::{Background, BackgroundFn, BoxTask, background_fn};
pub use self::http::{
    BodyKey, ByCredentials, CacheKey, CacheKeyRef, CacheMode, CachePartition, CacheStatus,
    CachedBody, Collapse, Entry, FillError, HttpCache, HttpCacheLayer, InMemory, MemoryStore,
    OnePartition, PartitionBy, PartitionFn, Peek, ResponseFuture, Route, RouteTtl, Secret, Stamp,
    Store, StoredHead, Unread, Variant, partition_fn,
};

#[cfg(any(test, feature = "__fuzz"))]
#[doc(hidden)]
pub use self::fuzz::{
    fuzz_conditional, fuzz_date, fuzz_directives, fuzz_exchange, fuzz_location, fuzz_range,
    fuzz_vary,
};
#[cfg(any(test, feature = "__fuzz"))]
#[doc(hidden)]
pub use self::http::{fuzz_key, fuzz_stored_head};
pub use self::ttl::{
    AnyError, ByRequest, Cache, CacheFuture, CacheHandle, CacheLayer, CacheStats, Call, Errors,
    Inline, Judge, KeyFn, KeyOf, Lifetime, OneEach, Policy, Refresh, Refresher, ToAll, ToOne, Ttl,
    TtlFn, Weigh, WeighFn, key_fn, ttl_fn, weigh_fn,
};
pub use self::wire::DecodeError;

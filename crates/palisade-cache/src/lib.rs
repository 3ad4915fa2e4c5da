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
//! complete. Nothing is spawned: whoever polls drives what several wait for, and
//! nobody who leaves takes anything from others. Who waits for another one, or for
//! a store that is not in memory, holds a timer of tokio.
//!
//! # Whose answers they are
//!
//! A [private](HttpCacheLayer::private) cache is one of a client: it keeps what is
//! for a single user too, and keeps users apart by the credentials that it sees in
//! their requests, see [`ByCredentials`]. A [shared](HttpCacheLayer::shared) one is
//! one of a server or a gateway: it keeps what is for all, obeys `s-maxage`,
//! `private` and `CDN-Cache-Control`, and has one partition. What the service reads
//! of requests and forgets to name in `Vary`, such as `X-Forwarded-Host`, a
//! [`Route`] [adds](Route::add_vary), or whoever sends it decides what others get.
//!
//! A token that a layer below adds is not seen. While there is one identity, that
//! is as good. Where there are several, a request says by a [`CachePartition`]
//! whose it is, or a function finds out:
//!
//! ```
//! # use std::convert::Infallible;
//! # use bytes::Bytes;
//! # use http::{Request, Response};
//! # use http_body_util::{BodyExt, Empty, Full};
//! # use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use palisade_cache::{CachePartition, CacheStatus, HttpCacheLayer, MemoryStore, partition_fn};
//! use palisade_core::{BoxError, Head};
//!
//! #[derive(Clone)]
//! struct User(&'static str);
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! // In place of a layer that adds the user's token, and a client.
//! let api = service_fn(|request: Request<Empty<Bytes>>| async move {
//!     let name = request.extensions().get::<User>().map_or("nobody", |user| user.0);
//!     let response = Response::builder().header("cache-control", "private, max-age=60");
//!     Ok::<_, Infallible>(response.body(Full::new(Bytes::from(name))).expect("it is valid"))
//! });
//! let by_user = partition_fn(|head: Head<'_>| match head.extensions.get::<User>() {
//!     Some(user) => CachePartition::named(user.0),
//!     None => CachePartition::common(),
//! });
//! let cache = HttpCacheLayer::private(MemoryStore::new(64 << 20)).partition(by_user);
//! let client = ServiceBuilder::new().layer(cache).service(api);
//!
//! for (user, status) in [
//!     ("alice", CacheStatus::Miss),
//!     ("bob", CacheStatus::Miss),
//!     ("alice", CacheStatus::Hit),
//! ] {
//!     let mut request = Request::get("https://api.example/me").body(Empty::new())?;
//!     request.extensions_mut().insert(User(user));
//!     let response = client.clone().oneshot(request).await?;
//!     assert_eq!(response.body().cache_status(), status);
//!     assert_eq!(response.into_body().collect().await?.to_bytes(), user);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A token that is fetched anew is another one, and with it the partition of its
//! hash is empty: the name of a user outlives it. What is marked `public` is for
//! all whom credentials tell apart, and stays where a name says so.
//!
//! The URI is the key, as the cache sees it, with the host of the field `Host`
//! where it has none itself. So a base address is put in above the cache, not below.
//! On a server the cache stands around the whole router: within a route that is
//! nested its prefix is cut off, and what is below two of them has one key.
//!
//! # Routes and modes
//!
//! Many APIs say little of how long their answers are good. A [`Route`] says it for
//! them: in place of what they say, where they say nothing, or at most; for answers
//! of some statuses alone, and for those that are not there; what counts of the
//! query, and of `Vary`. A [`CacheMode`] in the extensions of a request says what
//! that one wants, as for `fetch` in a browser; so does its `Cache-Control`.
//!
//! ```
//! # use std::{convert::Infallible, time::Duration};
//! # use bytes::Bytes;
//! # use http::{Request, Response, StatusCode};
//! # use http_body_util::{BodyExt, Empty, Full};
//! # use palisade_core::BoxError;
//! # use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use palisade_cache::{CacheMode, CacheStatus, HttpCacheLayer, MemoryStore, Route, RouteTtl};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! // In place of a client: an API that says nothing.
//! let api = service_fn(|request: Request<Empty<Bytes>>| async move {
//!     let mut response = Response::new(Full::new(Bytes::from("1.07")));
//!     if request.uri().path() != "/rates/eur" {
//!         *response.status_mut() = StatusCode::NOT_FOUND;
//!     }
//!     Ok::<_, Infallible>(response)
//! });
//! let rates = Route::prefix("/rates")
//!     .ttl(RouteTtl::Default(Duration::from_secs(60)))
//!     .negative(StatusCode::NOT_FOUND, Duration::from_secs(5))
//!     .except_query(["trace"]);
//! let cache = HttpCacheLayer::private(MemoryStore::new(64 << 20)).route(rates);
//! let client = ServiceBuilder::new().layer(cache).service(api);
//!
//! for (uri, mode, status) in [
//!     ("https://api.example/rates/eur?trace=1", CacheMode::Default, CacheStatus::Miss),
//!     ("https://api.example/rates/eur?trace=2", CacheMode::Default, CacheStatus::Hit),
//!     ("https://api.example/rates/eur", CacheMode::Reload, CacheStatus::Miss),
//!     ("https://api.example/rates/xxx", CacheMode::Default, CacheStatus::Miss),
//!     ("https://api.example/rates/xxx", CacheMode::Default, CacheStatus::Hit),
//!     ("https://api.example/users", CacheMode::Default, CacheStatus::Miss),
//!     ("https://api.example/users", CacheMode::Default, CacheStatus::Miss),
//! ] {
//!     let mut request = Request::get(uri).body(Empty::new())?;
//!     request.extensions_mut().insert(mode);
//!     let response = client.clone().oneshot(request).await?;
//!     assert_eq!(response.body().cache_status(), status, "{uri}");
//!     response.into_body().collect().await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! POST and QUERY are asked for by their bodies where [`InMemory`], or another
//! [`BodyKey`], says what identifies those. GET and HEAD with a body pass, as do
//! upgrades and what has `If-Match` or `If-Unmodified-Since`. Streams of events are
//! passed on, and not stored.
//!
//! # What is stale
//!
//! A stale answer that has a validator is asked about, and a 304 costs no body. It
//! is given without asking, while a new one is fetched, for as long as
//! `stale-while-revalidate` or
//! [the layer](HttpCacheLayer::stale_while_revalidate) says: that needs a
//! [`background`](HttpCacheLayer::background), without which the request waits. If
//! nothing comes of that, it is not tried again for a second, and for twice as long
//! each further time, up to thirty. It is given in place of an error, a 500, 502,
//! 503 or 504, for as long as `stale-if-error` or
//! [the layer](HttpCacheLayer::stale_if_error) says. Neither happens against
//! `must-revalidate` or `no-cache`, nor, in a shared cache, against
//! `proxy-revalidate` or `s-maxage`.
//!
//! The cache answers by itself with 504, if `only-if-cached` finds nothing, or if the
//! three calls that a request has waited for have failed; and with 502, if the
//! service says of what it was not asked about that it is still the same.
//!
//! # Together
//!
//! Requests for the same thing wait for the first of them, and read its body as it
//! comes, each at its own pace: see [`Collapse`] for how long. It has to be a plain
//! one, without `Range`, conditions, a mode or `Cache-Control` of its own, in the
//! same partition; and the response has to be one that may be stored, fresh, and
//! for them by its `Vary`. If it is not, all are sent at once, and for two seconds
//! nobody waits. A success that is not stored, does not vary, and says `no-store`, or
//! has neither `Cache-Control` nor a lifetime or validator, is taken at its
//! word: for up to a second others go by, and cost no more than without a cache, and
//! then it is looked at again. Where the layer says that what is stale is given, only
//! `no-store` is such a word. One that goes by and could have been stored, whatever
//! its status, ends that for an hour, of up to 65,536 keys. Neither is so of requests
//! with a [`Route`], or if the store has to be asked. Nobody joins one of which nothing
//! has come for a while, that is stale by now, or that was asked for before something
//! that made it invalid. A body that is too large to be stored reaches those who have
//! joined, but who is too far behind gets a [`FillError`].
//!
//! # Where they are kept
//!
//! A [`MemoryStore`] counts the bytes of bodies, fields and keys. Within its budget
//! what was not used for long goes first. A body of more than a sixteenth of it
//! passes unstored, unless [`max_body`](MemoryStore::max_body) says otherwise. For a
//! URI there are eight variants at most. Nothing goes because its time is over: it
//! may have a validator, or be given stale. [`remove`](MemoryStore::remove) forgets a
//! URI; a write to it that succeeds forgets what is for whoever wrote, and for all.
//!
//! Another [`Store`] keeps them elsewhere: as bytes, if it likes, which several
//! processes share that have a [`Secret`] in common.
//!
//! # What was done
//!
//! [`CachedBody::cache_status`] tells it of one response, before the body goes into
//! a box; an [`observer`](HttpCacheLayer::observer) is told of all: `hit`, `stale`,
//! `revalidated`, `miss`, `collapsed` or `bypass` for each request, `stored` once a
//! body is complete, and `slow_store`. A cache that has a
//! [name](HttpCacheLayer::cache_status) says it to whoever reads the response.
//!
//! ```
//! # use std::{convert::Infallible, sync::{Arc, Mutex}};
//! # use bytes::Bytes;
//! # use http::{Request, Response};
//! # use http_body_util::{BodyExt, Empty, Full};
//! # use palisade_cache::{HttpCacheLayer, MemoryStore};
//! # use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use palisade_core::{BoxError, Event, Observer, Target};
//!
//! #[derive(Debug, Default)]
//! struct Told(Mutex<Vec<&'static str>>);
//!
//! impl Observer for Told {
//!     fn on_event(&self, _: Target<'_>, event: &Event) {
//!         if let Event::Cache { status } = event {
//!             self.0.lock().expect("nobody panicked").push(status);
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! # let api = service_fn(|request: Request<Empty<Bytes>>| async move {
//! #     let control = if request.uri().path() == "/" { "max-age=60" } else { "no-store" };
//! #     let response = Response::builder().header("cache-control", control);
//! #     Ok::<_, Infallible>(response.body(Full::new(Bytes::from("x"))).expect("it is valid"))
//! # });
//! let told = Arc::new(Told::default());
//! let cache = HttpCacheLayer::private(MemoryStore::new(64 << 20))
//!     .cache_status("client")
//!     .observer(told.clone());
//! let client = ServiceBuilder::new().layer(cache).service(api);
//!
//! for (path, status) in [
//!     ("/", "client; fwd=uri-miss; stored; ttl="),
//!     ("/", "client; hit; ttl="),
//!     // The response has `no-store`.
//!     ("/now", "client; fwd=uri-miss; detail=no-store"),
//! ] {
//!     let request = Request::get(format!("https://api.example{path}")).body(Empty::new())?;
//!     let response = client.clone().oneshot(request).await?;
//!     assert!(response.headers()["cache-status"].to_str()?.starts_with(status));
//!     response.into_body().collect().await?;
//! }
//! assert_eq!(*told.0.lock().expect("nobody panicked"), ["miss", "stored", "hit", "miss"]);
//! # Ok(())
//! # }
//! ```
//!
//! # Where the HTTP cache belongs
//!
//! Above all that a hit should not have to do: retries, breakers, limits, timeouts
//! of an attempt. It is always ready, so a hit passes while those are closed, and
//! what sheds load by readiness above it does not see them. A request that misses
//! waits for a clone of the inner service. Below it belong layers that give each
//! request something of its own, such as trace context; above it those that change
//! what is asked for. Above what adds credentials, see [whose answers they
//! are](#whose-answers-they-are): a shared cache there does not see that there are
//! any, and keeps what they were needed for.
//!
//! The inner service is `Clone + Send + 'static`, and so are its futures and errors
//! `Send`; the bodies of requests and responses are [`Body`](http_body::Body)s. Where
//! the compiler finds no `Service` for [`HttpCache`], it is one of these that is
//! missing.
//!
//! A hit takes a hash of the URI, reads the wall clock, copies the fields and shares
//! the body: two allocations, whatever the size. A miss keeps a copy of the request's
//! head, and of the body once it is complete. A request that passes, as `no-store` has it or
//! its method, costs no allocation, but for a write, of which its URI is kept. The
//! future has room for that of the inner service, so box one that is large.
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

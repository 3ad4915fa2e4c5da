//! What makes an API client survive real APIs: one [tower](https://docs.rs/tower)
//! layer for each technique, each in a crate of its own, behind a feature here.
//!
#![cfg_attr(feature = "retry", doc = "```")]
#![cfg_attr(not(feature = "retry"), doc = "```ignore")]
//! use http::{Request, Response};
//! use palisade::retry::RetryLayer;
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let client = ServiceBuilder::new().layer(RetryLayer::http()).service(service_fn(
//!     |_: Request<String>| async { Ok::<_, BoxError>(Response::new("hello".to_owned())) },
//! ));
//! let response = client.oneshot(Request::new(String::new())).await?;
//! assert_eq!(response.body(), "hello");
//! # Ok(())
//! # }
//! ```
//!
//! | module | feature | |
//! |---|---|---|
//! | [`core`] | always | verdicts, error kinds, events, endpoints |
//! | [`body`] | always | bodies that replay, drain and tell their end |
//! | [`auth`] | `auth`, `jwt` | puts credentials on requests: tokens that are fresh, refreshed once, never leaked |
//! | [`cache`] | `cache` | caches HTTP by RFC 9111, and the answers of any service for a time |
//! | [`circuit_breaker`] | `circuit-breaker` | stops calling what fails, and finds out when it works again |
//! | [`client`], [`blocking`] | `client`; `cookies`, `garde`, `platform-verifier` | the layers as one client over connections of its own, with defaults for all; brings all layers but `otel` |
//! | [`metrics`] | `metrics`, `metrics-facade`, `processor-clock`, `serde`, `tracing` | counts, times and logs calls and attempts |
//! | [`otel`] | `otel`; with `metrics`, its instruments | spans of OpenTelemetry, and trace context |
//! | [`rate_limit`] | `rate-limit` | limits rates and requests in flight: quotas, keys, costs, a fair line to wait in |
//! | [`retry`] | `retry`, `idempotency-key` | retries with back-off, hints and budgets |
//!
//! The feature `rustls` tells failures of rustls apart.
//!
//! Outermost first, the layers go: metrics of calls, total deadline, redirects,
//! cache, retry, rate limit, concurrency limit, circuit breaker, credentials,
//! timeout of an attempt, metrics of attempts, spans, client; and the gate of the
//! breaker between retry and the limits. Every layer is right in any other order as well.
//!
//! # Around other clients
//!
//! Around `reqwest::Client`, whose requests and responses are its own, put `filter`
//! and `map_response` of tower's `ServiceBuilder` (with tower's features `filter` and
//! `util`), with the conversions of reqwest. Have it follow no redirects: below all
//! layers, it would take along whatever it does not know to be a secret, and a write
//! that was done would be retried for what it led to. Those of tower-http stand outside
//! of retry.
//!
#![cfg_attr(all(feature = "circuit-breaker", feature = "retry"), doc = "```no_run")]
#![cfg_attr(not(all(feature = "circuit-breaker", feature = "retry")), doc = "```ignore")]
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use palisade::{circuit_breaker::CircuitBreakerLayer, core::ByAuthority, retry::RetryLayer};
//! use reqwest::redirect::Policy;
//! use tower::{BoxError, ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let client = ServiceBuilder::new()
//!     .layer(RetryLayer::http())
//!     .layer(CircuitBreakerLayer::http().keyed(ByAuthority))
//!     .map_response(Response::<reqwest::Body>::from)
//!     .filter(|request: Request<Full<Bytes>>| {
//!         reqwest::Request::try_from(request.map(reqwest::Body::wrap))
//!     })
//!     .service(reqwest::Client::builder().redirect(Policy::none()).build()?);
//!
//! let request = Request::get("https://api.example/users").body(Full::default())?;
//! let users = client.oneshot(request).await?.into_body().collect().await?.to_bytes();
//! # drop(users);
//! # Ok(())
//! # }
//! ```
//!
//! A [`Client`] is [built over](client::ClientBuilder::build_over) the same, with
//! [`client::Body`] in place of `Full<Bytes>`.
//!
//! Around a channel of tonic go metrics, retry, the breaker, limits, credentials
//! and timeouts.
//!
//! - What became of a call is in `grpc-status`: judge by `HttpClassify::new().grpc()`,
//!   in `RetryLayer::new`, or by `classify` after `registry.calls::<Typed>()` and
//!   `CircuitBreakerLayer::<HttpClassify>::http()`. It is seen in the head; one that comes behind the
//!   message is seen if `ReadAheadLayer` has read that, for calls with one answer.
//! - All methods are `POST`: say by `requests_fn` which of them may be repeated. Bodies
//!   do not clone: add `replay`.
//! - Give the generated client its origin, by `with_origin`: a channel adds it below
//!   all layers, where neither credentials nor breakers of a host see it.
//! - `UNAUTHENTICATED` is no 401: a token is replaced before it expires, and not when
//!   it is refused.
//! - The cache has nothing to do: what is posted is not stored.
//!
//! On a server of tonic, `respond_fn` makes refusals of a `tonic::Status`.

#![cfg_attr(palisade_docsrs, feature(doc_cfg))]

#[cfg(feature = "auth")]
pub use palisade_auth as auth;
pub use palisade_body as body;
#[cfg(feature = "cache")]
pub use palisade_cache as cache;
#[cfg(feature = "circuit-breaker")]
pub use palisade_circuit_breaker as circuit_breaker;
#[cfg(feature = "client")]
pub use palisade_client as client;
#[cfg(feature = "client")]
pub use palisade_client::{Client, blocking};
pub use palisade_core as core;
#[cfg(feature = "metrics")]
pub use palisade_metrics as metrics;
#[cfg(feature = "otel")]
pub use palisade_otel as otel;
#[cfg(feature = "rate-limit")]
pub use palisade_rate_limit as rate_limit;
#[cfg(feature = "retry")]
pub use palisade_retry as retry;

/// The README and the guide: their examples are compiled, and run.
#[cfg(all(
    doctest,
    feature = "auth",
    feature = "cache",
    feature = "circuit-breaker",
    feature = "client",
    feature = "metrics",
    feature = "rate-limit",
    feature = "retry"
))]
mod guide {
    #[doc = include_str!("../../../README.md")]
    struct Readme;
    #[doc = include_str!("../../../docs/caching.md")]
    struct Caching;
    #[doc = include_str!("../../../docs/observing.md")]
    struct Observing;
    #[doc = include_str!("../../../docs/order.md")]
    struct Order;
    #[doc = include_str!("../../../docs/retries.md")]
    struct Retries;
    #[doc = include_str!("../../../docs/servers.md")]
    struct Servers;
    #[doc = include_str!("../../../docs/timeouts.md")]
    struct Timeouts;
    #[doc = include_str!("../../../docs/tokens.md")]
    struct Tokens;
}

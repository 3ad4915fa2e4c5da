//! An HTTP client for APIs that survives what real APIs do, made of
//! [tower](tower_service) layers.
//!
//! ```
//! use http::{Request, Response};
//! use palisade_client::{Body, Client};
//! use tower::{BoxError, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! // In place of the network; `Client::new("https://api.example")` has connections of its own.
//! let api = service_fn(|_: Request<Body>| async { Ok::<_, BoxError>(Response::new(Body::from("hello"))) });
//! let client = Client::builder().build_over(api)?;
//!
//! let request = Request::get("https://api.example/users").body(Body::empty())?;
//! let response = client.oneshot(request).await?;
//! assert_eq!(response.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! # Defaults
//!
//! A call passes these from the top down. Each of them can be set, and all but the
//! last can be left out; with its feature off, it is not there.
//!
//! | what | default | set by |
//! |---|---|---|
//! | layers of yours around each call | none | `layer` |
//! | metrics of calls | none | `metrics` |
//! | cache | none | `cache` |
//! | time of a call, to the head of its response | 60 s | `total_timeout` |
//! | retries | 3 attempts, which begin before the time of the call is over | `retry`, `no_retry` |
//! | circuit breaker | one for each authority; a call that is dropped after 30 s has failed | `circuit_breaker`, `no_circuit_breaker` |
//! | rate limit | none | `rate_limit` |
//! | limit on what is in flight | none | `concurrency_limit` |
//! | credentials | none | `auth`, `auth_layer` |
//! | time of an attempt, to the head of its response | 30 s | `attempt_timeout` |
//! | metrics of attempts | none | `metrics` |
//! | layers of yours around each attempt | none | `attempt_layer` |
//! | redirects | 10, which take no secrets to another origin | `redirects` |
//! | decompression | gzip, deflate | `no_decompression` |
//! | connections | below | `build_over` |
//!
//! | what | default | set by |
//! |---|---|---|
//! | time without any of a response's body | 30 s | `body_idle_timeout` |
//! | body of a request that streams, kept for further attempts | 64 KiB | |
//! | time of a look-up, a connection and its handshake | 5 s | `connect_timeout` |
//! | time that a connection is kept unused | 90 s | `pool_idle_timeout` |
//! | connections kept unused for each host | 32 | `pool_max_idle_per_host` |
//! | versions of HTTP | 2 if TLS negotiates it, 1.1 otherwise | `http_versions` |
//! | proxies | as the environment says | `proxy`, `no_proxy` |
//! | who is trusted | whom Mozilla trusts | `trust_pem` |
//! | `user-agent` | `palisade/0.1.0` | `user_agent`, `header` |
//!
//! # Over another client
//!
//! [`ClientBuilder::build_over`] takes any service for HTTP in place of the
//! connections, and [`ClientOf`] is a client over a service alone, without any of
//! these layers and without a box.
//!
//! # Features
//!
//! All are on by default: `auth`, `cache`, `circuit-breaker`, `decompression`,
//! `metrics`, `rate-limit`, `retry`, and `tls`, which is rustls over ring.

#![cfg_attr(palisade_docsrs, feature(doc_cfg))]
// What layers share is there without them: told in one place, and not at each of it. With all
// of them, nothing may be left over.
#![cfg_attr(
    not(all(
        feature = "auth",
        feature = "cache",
        feature = "circuit-breaker",
        feature = "decompression",
        feature = "metrics",
        feature = "rate-limit",
        feature = "retry"
    )),
    allow(dead_code, unused_imports)
)]

pub mod blocking;
mod body;
mod builder;
mod client;
mod connect;
mod defaults;
mod erased;
mod follow;
mod invalid_client;
#[cfg(any(feature = "auth", feature = "retry"))]
mod keep;
mod response_body;
mod stack;
mod switch;
mod timeout;
#[cfg(feature = "tls")]
mod tls;
mod transport;
#[cfg(feature = "decompression")]
mod unpack;
mod wire;

#[cfg(any(feature = "auth", feature = "retry"))]
pub use self::keep::{KeepBody, KeptBody};
pub use self::{
    body::Body,
    builder::{Client, ClientBuilder},
    client::ClientOf,
    erased::{BoxedFuture, BoxedService, HttpLayer, HttpService, IntoResponse},
    invalid_client::InvalidClient,
    response_body::ResponseBody,
    timeout::{TimedOut, Timeouts},
    transport::HttpVersions,
};

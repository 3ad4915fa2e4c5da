//! An HTTP client for APIs, made of [tower](tower_service) layers: typed
//! requests and answers over any service.
//!
//! ```
//! # use std::convert::Infallible;
//! use http::Response;
//! use palisade_client::{Body, ClientOf, Error};
//! use serde::Deserialize;
//! # use tower::service_fn;
//!
//! #[derive(Deserialize)]
//! struct User {
//!     name: String,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! # // In place of a server.
//! # let service = service_fn(|request: http::Request<Body>| async move {
//! #     assert_eq!(request.uri(), "https://api.example/v1/users/7");
//! #     Ok::<_, Infallible>(Response::new(Body::from(r#"{"name": "Ada"}"#)))
//! # });
//! let client = ClientOf::from_service(service).base_url("https://api.example/v1");
//! let user: User = client.get("/users/{id}").path("id", 7).send().await?.json().await?;
//! assert_eq!(user.name, "Ada");
//! # Ok(())
//! # }
//! ```
//!
//! # What there is
//!
//! | to | use |
//! |---|---|
//! | name what is asked for | [`get`](ClientOf::get) and its like, [`path`](RequestBuilder::path), [`query`](RequestBuilder::query) |
//! | send a body | [`json`](RequestBuilder::json), [`form`](RequestBuilder::form), [`multipart`](RequestBuilder::multipart), [`body`](RequestBuilder::body), [`stream`](RequestBuilder::stream) |
//! | show who asks | [`bearer_auth`](RequestBuilder::bearer_auth), [`basic_auth`](RequestBuilder::basic_auth) |
//! | bound the time | [`timeout`](RequestBuilder::timeout), [`deadline`](RequestBuilder::deadline) |
//! | let a `POST` be repeated | [`idempotency_key`](RequestBuilder::idempotency_key), [`idempotent`](RequestBuilder::idempotent) |
//! | tell a layer something | [`extension`](RequestBuilder::extension) |
//! | read a value | [`json`](Response::json), of an `Option` if there may be none |
//! | check the value | [`valid_by`](Json::valid_by), with [`validate_fn`] or a [`Validate`]; in code that blocks, [`json_valid_by`](blocking::Response#method.json_valid_by) |
//! | read an API's own errors | [`json_or`](Response::json_or), [`Problem`] |
//! | read all, or piece by piece | [`text`](Response::text), [`bytes`](Response::bytes), [`into_body`](Response::into_body) |
//! | send many at once | [`fetch_all`](ClientOf::fetch_all), [`fetch_stream`](ClientOf::fetch_stream) |
//! | let layers outside see what does not decode | [`DecodeLayer`] |
//! | know what went wrong | [`Error::kind`], [`Error::status`], [`Error::is_timeout`], [`Error::retry_after`] |
//!
//! # Templates
//!
//! What stands in the source, `"/users/{id}"`, is a template. Its values are
//! percent-encoded and cannot leave their segments, and layers know the
//! request by its template: metrics count it, and breakers break for it, as
//! one [`Endpoint`](palisade_core::Endpoint). A `String` or a `Uri` is a link,
//! as servers give them, and is [taken as it is](Route). A whole URL may lead to the
//! origin of the base URL, and to [others](ClientOf::origins) if they are named.
//!
//! # Secrets
//!
//! An [`Error`] can be logged: its text, its `Debug` and its causes in this
//! crate name a request by method and template, or by its origin, and quote
//! neither URL nor body. What was quoted is there for who asks:
//! [`Error::uri`], [`Error::body`], [`DecodeError::detail`].
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
//! | time of a call, to the head of its response | 60 s | `total_timeout` |
//! | redirects | 10, which take no secrets to another origin | `redirects` |
//! | cache | none | `cache` |
//! | retries | 3 attempts, which begin before the time of the call is over | `retry`, `no_retry` |
//! | rate limit | none | `rate_limit` |
//! | limit on what is in flight | none | `concurrency_limit` |
//! | circuit breaker | one for each authority; a call that is dropped after 30 s has failed | `circuit_breaker`, `no_circuit_breaker` |
//! | credentials | none | `auth`, `auth_layer` |
//! | time of an attempt, to the head of its response | 30 s | `attempt_timeout` |
//! | metrics of attempts | none | `metrics` |
//! | layers of yours around each attempt | none | `attempt_layer` |
//! | cookies | none | `cookies` |
//! | decompression | gzip, deflate | `no_decompression` |
//! | connections | below | `build_over` |
//!
//! | what | default | set by |
//! |---|---|---|
//! | time without any of a response's body | 30 s | `body_idle_timeout` |
//! | body of a request that streams, kept for further attempts | 64 KiB | |
//! | time of a look-up, a connection and its handshake | 5 s | `connect_timeout` |
//! | time that a connection is kept unused | 90 s | `pool_idle_timeout` |
//! | connections kept unused for each host | no limit | `pool_max_idle_per_host` |
//! | time without a frame of HTTP/2, after which a ping is sent | 10 s | `http2_keep_alive` |
//! | time without a byte, after which TCP sends probes | 15 s, and 3 probes | `tcp_keep_alive` |
//! | versions of HTTP | 2 if TLS negotiates it, 1.1 otherwise | `http_versions` |
//! | addresses of hosts | what the system says | `resolve` |
//! | schemes | https and http | `https_only` |
//! | proxies | as the environment says | `proxy`, `no_proxy` |
//! | who is trusted | whom Mozilla trusts | `trust_platform`, `trust_pem` |
//! | `user-agent` | `palisade/0.1.0` | `user_agent`, `header` |
//! | bytes of a body that are collected, decompressed | 16 MiB | [`body_limit`](ClientOf::body_limit), once it is built |
//! | what is taken for JSON | what says so, or nothing | [`lenient`](ClientOf::lenient), once it is built |
//! | origins of links | that of the base URL | [`origins`](ClientOf::origins), once it is built |
//!
//! What a breaker is sure to refuse it refuses before the limits already, so that it
//! neither stands in line nor takes a token. What it refuses is waited for, outside of
//! it, by retries, which spends no attempts: a host that is down for as long as a call
//! has time is outlasted.
//!
//! # Runtime
//!
//! Connections and time limits are tokio's: a [`Client`] is made anywhere, and used in a
//! runtime of tokio whose I/O and timers are enabled, as `#[tokio::main]` has them;
//! elsewhere its futures panic. Code without one has the client of [`blocking`].
//!
//! # Over another client
//!
//! [`ClientBuilder::build_over`] takes any service for HTTP in place of the
//! connections, and [`ClientOf`] is a client over a service alone, without any of
//! these layers and without a box.
//!
//! # Features
//!
//! On by default are `auth`, `cache`, `circuit-breaker`, `decompression`, `metrics`,
//! `rate-limit`, `retry`, and `tls`, which is rustls over ring. Off are `cookies`, for a
//! [jar](ClientBuilder::cookies); `platform-verifier`, for [whom the platform
//! trusts](ClientBuilder::trust_platform); and `garde`, for a validator of that crate.

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

mod around;
mod away;
pub mod blocking;
mod body;
mod builder;
mod call;
mod client;
mod collect;
mod connect;
#[cfg(feature = "cookies")]
mod cookies;
#[cfg(feature = "auth")]
mod credentials;
mod decode;
mod decoding;
mod defaults;
mod erased;
mod error;
mod expiry;
mod fields;
mod follow;
mod future;
#[cfg(feature = "decompression")]
mod inflate;
mod invalid;
mod invalid_client;
mod json;
#[cfg(any(feature = "auth", feature = "retry"))]
mod keep;
mod many;
mod measured;
mod multipart;
mod near;
mod problem;
mod proxy;
mod request;
mod resolve;
mod response;
mod response_body;
mod route;
mod stack;
mod switch;
mod template;
mod timeout;
#[cfg(feature = "tls")]
mod tls;
mod transport;
#[cfg(feature = "decompression")]
mod unpack;
mod url;
mod validate;
#[cfg(any(feature = "cookies", feature = "decompression"))]
mod vary;
mod wire;

#[cfg(feature = "cookies")]
#[cfg_attr(palisade_docsrs, doc(cfg(feature = "cookies")))]
pub use self::cookies::CookieJar;
#[cfg(any(feature = "auth", feature = "retry"))]
pub use self::keep::{KeepBody, KeptBody};
#[cfg(feature = "garde")]
pub use self::validate::Garde;
pub use self::{
    body::Body,
    builder::{Client, ClientBuilder},
    client::ClientOf,
    decode::DecodeError,
    decoding::{Decode, DecodeFuture, DecodeLayer, Decoded},
    erased::{BoxedFuture, BoxedService, HttpLayer, HttpService, IntoResponse},
    error::{Error, Kind},
    future::ResponseFuture,
    invalid_client::InvalidClient,
    json::{Json, Refused},
    many::{FetchAll, FetchJson, Fetched, FetchedUnordered, IterSource, Progress},
    multipart::{Multipart, Part},
    problem::Problem,
    request::RequestBuilder,
    response::Response,
    response_body::ResponseBody,
    route::Route,
    timeout::{TimedOut, Timeouts},
    transport::HttpVersions,
    validate::{Report, Validate, ValidateFn, validate_fn},
};

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
//! | bound the time | [`timeout`](RequestBuilder::timeout), [`deadline`](RequestBuilder::deadline) |
//! | let a `POST` be repeated | [`idempotency_key`](RequestBuilder::idempotency_key), [`idempotent`](RequestBuilder::idempotent) |
//! | tell a layer something | [`extension`](RequestBuilder::extension) |
//! | read a value | [`json`](Response::json), of an `Option` if there may be none |
//! | check the value | [`valid_by`](Json::valid_by), with [`validate_fn`] or a [`Validate`] |
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
//! as servers give them, and is taken as it is. A whole URL may lead to the
//! origin of the base URL, and to [others](ClientOf::origins) if they are named.
//!
//! # Secrets
//!
//! An [`Error`] can be logged: its text, its `Debug` and its causes in this
//! crate name a request by method and template, or by its origin, and quote
//! neither URL nor body. What was quoted is there for who asks:
//! [`Error::uri`], [`Error::body`], [`DecodeError::detail`].

#![cfg_attr(palisade_docsrs, feature(doc_cfg))]

mod body;
mod call;
mod client;
mod collect;
mod decode;
mod decoding;
mod error;
mod expiry;
mod future;
mod invalid;
mod json;
mod many;
mod multipart;
mod problem;
mod request;
mod response;
mod route;
mod template;
mod url;
mod validate;

#[cfg(feature = "garde")]
pub use self::validate::Garde;
pub use self::{
    body::Body,
    client::ClientOf,
    decode::DecodeError,
    decoding::{Decode, DecodeFuture, DecodeLayer, Decoded},
    error::{Error, Kind},
    future::ResponseFuture,
    json::{Json, Refused},
    many::{FetchAll, FetchJson, Fetched, FetchedUnordered, IterSource, Progress},
    multipart::{Multipart, Part},
    problem::Problem,
    request::RequestBuilder,
    response::Response,
    route::Route,
    validate::{Report, Validate, ValidateFn, validate_fn},
};

//! The same client for code that blocks.
//!
//! ```
//! use http::{Request, Response};
//! use palisade_client::{Body, blocking};
//! # use serde::Deserialize;
//! use tower::{BoxError, service_fn};
//!
//! # #[derive(Deserialize)]
//! # struct User {
//! #     name: String,
//! # }
//! # fn main() -> Result<(), BoxError> {
//! // In place of the network; `blocking::Client::new("https://api.example")` has connections of its own.
//! let api = service_fn(|request: Request<Body>| async move {
//!     assert_eq!(request.uri(), "https://api.example/users/7");
//!     Ok::<_, BoxError>(Response::new(Body::from(r#"{"name": "Ada"}"#)))
//! });
//! let builder = palisade_client::Client::builder().base_url("https://api.example");
//! let client = blocking::Client::of(builder.build_over(api)?);
//!
//! let user: User = client.get("/users/{id}").path("id", 7).send()?.lenient().json()?;
//! assert_eq!(user.name, "Ada");
//! # Ok(())
//! # }
//! ```
//!
//! These are the types of the rest of this crate over another service: clients,
//! requests and responses have the methods that they have there. What is a future
//! there blocks here, and what is a stream is an iterator. What is set on a future there
//! is part of the call here: `json().valid_by(..)` is
//! [`json_valid_by(..)`](Response#method.json_valid_by). What is read piece by piece, as a
//! file, is sent by [`Body::reader`](crate::Body::reader).
//!
//! # Threads
//!
//! A call is polled by the thread that makes it. Sockets and timers are those of a
//! runtime on one thread, `palisade-blocking`, that all clients share. It is started
//! with the first call, and stays until the process ends.
//!
//! Within a runtime, a thread that waits would hold up everything else that runs on
//! it. So a call fails there with [`Kind::Blocking`](crate::Kind::Blocking); use
//! [`Client`](crate::Client), or `tokio::task::spawn_blocking`, in which calls are
//! fine. That is known of tokio's runtimes alone. Nothing blocks when it is dropped.
//!
//! # Fork
//!
//! A child of `fork` has no threads of its parent. Its first call starts a thread of its
//! own; but a client that had connections before would wait for one that nobody
//! serves, so make a new client in the child. As with all that has locks, `fork` while
//! another thread is in a call may leave a lock taken: fork before the first call, or
//! call `exec` at once.

mod body;
mod client;
mod fetch;
mod reader;
mod request;
mod response;
mod runtime;

pub(crate) use self::runtime::CannotWait;
pub use self::{
    body::ResponseBody,
    client::BlockingService,
    fetch::{FetchAll, FetchResponse, Fetched, FetchedUnordered},
};

/// A [`Client`](crate::Client) whose calls block until there is an answer.
///
/// Clones are cheap, and share what the clients share.
pub type Client = crate::ClientOf<BlockingService>;

/// A [`RequestBuilder`](crate::RequestBuilder) that is sent by a call that blocks.
pub type RequestBuilder = crate::RequestBuilder<BlockingService>;

/// A [`Response`](crate::Response) whose body is read by calls that block.
pub type Response = crate::Response<ResponseBody>;

//! The same client for code that blocks.
//!
//! ```
//! use http::{Request, Response};
//! use palisade_client::{Body, blocking};
//! use tower::{BoxError, service_fn};
//!
//! # fn main() -> Result<(), BoxError> {
//! // In place of the network; `blocking::Client::new("https://api.example")` has connections of its own.
//! let api = service_fn(|_: Request<Body>| async { Ok::<_, BoxError>(Response::new(Body::from("hello"))) });
//! let client = blocking::Client::of(palisade_client::Client::builder().build_over(api)?);
//!
//! let request = Request::get("https://api.example/users").body(Body::empty())?;
//! let response = client.send(request)?;
//! assert_eq!(response.into_body().bytes()?, "hello");
//! # Ok(())
//! # }
//! ```
//!
//! All clients share one thread, on which a runtime does their work. It is started
//! with the first call, and stays until the process ends.
//!
//! Within a runtime, a thread that waits would hold up everything else that runs on
//! it. So a call fails there with [`InsideRuntime`]; use [`Client`](crate::Client), or
//! `tokio::task::spawn_blocking`, in which calls are fine.

mod body;
mod client;
mod error;
mod runtime;
mod wait;

pub use self::{
    body::ResponseBody,
    client::Client,
    error::{InsideRuntime, NoThread},
};

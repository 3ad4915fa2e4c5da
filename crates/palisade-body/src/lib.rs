//! HTTP bodies for tower layers: one that can be sent again, one that is read and thrown away, one
//! that tells how it ended.
//!
//! ```
//! use bytes::Bytes;
//! use http_body_util::BodyExt;
//! use palisade_body::{BodyEnd, Drain, Drained, ReplayBody, WatchBody, watch_fn};
//!
//! type Full = http_body_util::Full<Bytes>;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A request with a body that is kept while it is sent, if it has no more than 64 KiB.
//! let (mut first, mut replay) = ReplayBody::new(Full::from("order 42"), 64 * 1024);
//! let sent = first.frame().await.transpose()?;
//! assert!(sent.is_some() && replay.is_complete());
//!
//! // The server answers 503. Its short body is read, so that the connection can be used again ..
//! assert_eq!(Drain::new(Full::from("try again"), 16 * 1024).await, Drained::End);
//!
//! // .. and the next attempt sends the same bytes.
//! replay.replayable()?;
//! let second = replay.next_body()?;
//! assert_eq!(second.collect().await?.to_bytes(), "order 42");
//!
//! // Its response is over when its body is.
//! let mut complete = false;
//! let watch = watch_fn(|end| complete = matches!(end, BodyEnd::Complete));
//! let body = WatchBody::new(Full::from("done"), watch);
//! assert_eq!(body.collect().await?.to_bytes(), "done");
//! assert!(complete);
//! # Ok(())
//! # }
//! ```
//!
//! [`ReplayBody`] records a request body while the first attempt sends it, and [`Replay`] makes the
//! bodies of later attempts. [`Drain`] reads a response to its end, within a bound. [`WatchBody`]
//! tells a [`Watch`] whether a body was read to its end, failed or was dropped.
//!
//! All of them are generic over [`Body`](http_body::Body) and need no runtime.

mod drain;
mod error;
mod reader;
mod record;
mod replay;
mod sync;
mod watch;

pub use self::{
    drain::{Drain, Drained},
    error::{NotReplayable, ReplayError},
    replay::{Replay, ReplayBody},
    watch::{BodyEnd, Watch, WatchBody, WatchFn, watch_fn},
};

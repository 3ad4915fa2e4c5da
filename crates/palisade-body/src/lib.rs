//! HTTP bodies for tower layers: one that can be sent again, one that is read and thrown
//! away.
//!
//! ```
//! use bytes::Bytes;
//! use http_body_util::{BodyExt, Full};
//! use palisade_body::ReplayBody;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (mut first, mut replay) = ReplayBody::new(Full::new(Bytes::from("order 42")), 64 * 1024);
//! let sent = first.frame().await.transpose()?;
//! assert!(sent.is_some() && replay.is_complete());
//!
//! let second = replay.next_body()?;
//! assert_eq!(second.collect().await?.to_bytes(), "order 42");
//! # Ok(())
//! # }
//! ```

mod drain;
mod error;
mod reader;
mod record;
mod replay;

pub use self::{
    drain::{Drain, Drained},
    error::{NotReplayable, ReplayError},
    replay::{Replay, ReplayBody},
};

//! The bodies as black boxes.

// clippy.toml allows it in test functions, not in what they share.
#![allow(clippy::unwrap_used)]

mod drain;
mod replay;
mod replay_property;
mod support;
mod watch;

//! The client as a black box.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]
#![allow(clippy::disallowed_methods, reason = "servers run beside the test")]

mod allocations;
mod blocking;
mod layers;
mod redirects;
mod servers;
mod timeouts;
mod wire;

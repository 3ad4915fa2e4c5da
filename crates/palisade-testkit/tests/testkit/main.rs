//! The servers of the test kit, seen from the other end of the wire.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests as well")]

mod client;
mod clock;
mod fault;
mod flaky;
mod limit;
mod refused;

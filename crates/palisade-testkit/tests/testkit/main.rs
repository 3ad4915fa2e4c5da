//! The servers of the test kit, seen from the other end of the wire.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests as well")]

#[allow(dead_code)]
mod client;
mod clock;
mod refused;

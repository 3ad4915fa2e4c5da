//! The servers of the test kit, seen from the other end of the wire, and the contract, over layers
//! that keep it and layers that break it.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests as well")]

mod client;
mod clock;
mod contract;
mod fault;
mod flaky;
mod limit;
mod refused;

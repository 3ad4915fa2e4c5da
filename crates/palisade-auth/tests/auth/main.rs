//! Credentials as a black box, over services in place of servers and paused time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are tests as well")]
#![allow(clippy::disallowed_methods, reason = "callers go on beside the test")]

mod adversary;
mod contract;
mod cost;
#[cfg(feature = "interactive")]
mod device;
mod directory;
mod endpoint;
mod faulty_store;
mod keyed;
mod layer;
mod lease_store;
#[cfg(feature = "interactive")]
mod loopback;
mod model;
mod refused;
mod rotating_server;
mod rotation;
#[cfg(feature = "signing")]
mod signers;
#[cfg(feature = "signing")]
mod signing;
mod sources;
mod store;
mod support;
mod token_server;
mod tokens;

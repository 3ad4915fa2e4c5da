//! Credentials as a black box, over services in place of servers and paused time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are tests as well")]
#![allow(clippy::disallowed_methods, reason = "callers go on beside the test")]

mod contract;
mod cost;
mod directory;
mod endpoint;
mod keyed;
mod layer;
mod refused;
mod sources;
mod store;
mod support;
mod token_server;
mod tokens;

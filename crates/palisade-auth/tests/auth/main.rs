//! Credentials as a black box, over paused time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are tests as well")]
#![allow(clippy::disallowed_methods, reason = "callers go on beside the test")]

mod contract;
mod cost;
mod keyed;
mod layer;
mod refused;
mod support;
mod tokens;

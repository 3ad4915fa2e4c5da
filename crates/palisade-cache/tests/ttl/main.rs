//! The cache for any service, as a black box, over paused time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are tests as well")]
#![allow(clippy::disallowed_methods, reason = "callers go on beside the test")]

mod support;

mod answers;
mod attack;
mod contract;
mod cost;
mod flights;
mod handle;
mod liveness;
mod random;
mod stale;

//! Limits as a black box, over paused time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are tests as well")]
#![allow(clippy::disallowed_methods, reason = "callers go on beside the test")]

mod attack;
mod concurrency;
mod contract;
mod feedback;
mod layer;
mod limiter;
mod seam;
mod server;

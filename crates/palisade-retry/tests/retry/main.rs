//! The retry layer as a black box, over a scripted inner service and paused time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are tests as well")]

mod attempts;
mod bodies;
mod budgets;
mod cancellation;
mod contract;
mod delays;
mod drain;
#[cfg(feature = "tower")]
mod policy;
mod read_ahead;
mod refusals;
mod report;
mod upstream;

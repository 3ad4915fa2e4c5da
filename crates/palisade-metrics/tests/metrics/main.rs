//! The metrics layers as a black box, over a scripted inner service and paused time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are tests as well")]
#![allow(clippy::disallowed_methods, reason = "callers go on beside the test")]

mod attack;
#[cfg(feature = "quanta")]
mod clock;
mod contract;
mod contrib;
mod cost;
mod endings;
#[cfg(feature = "metrics")]
mod facade;
#[cfg(feature = "serde")]
mod json;
mod labels;
mod model;
mod names;
mod panics;
mod peers;
mod support;
mod text;
mod threads;
#[cfg(feature = "tracing")]
mod trace;

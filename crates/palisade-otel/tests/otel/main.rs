//! Spans and instruments as a black box, over a scripted inner service and
//! exporters that keep what they are told.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are tests as well")]
#![allow(clippy::disallowed_methods, reason = "callers go on beside the test")]

mod attributes;
mod contract;
mod current;
mod endings;
#[cfg(feature = "metrics")]
mod exported;
#[cfg(feature = "metrics")]
mod instruments;
mod names;
mod propagation;
mod support;

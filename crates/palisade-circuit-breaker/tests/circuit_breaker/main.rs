//! The circuit breaker as a black box, over a scripted inner service and paused time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are tests as well")]
#![allow(clippy::disallowed_methods, reason = "callers go on beside the test")]

mod api;
mod backpressure;
mod bodies;
mod cancellation;
mod clock;
mod contract;
mod events;
mod gate;
mod handle;
mod hints;
mod keyed;
mod readiness;
mod recovery;
mod refusals;
mod trips;

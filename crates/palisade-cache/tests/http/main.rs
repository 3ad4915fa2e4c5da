//! The HTTP cache as a black box, over paused time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are tests as well")]
#![allow(clippy::disallowed_methods, reason = "callers go on beside the test")]

mod attack;
mod basics;
mod byte_store;
mod collapse;
mod contract;
mod cost;
mod defects;
mod keys;
mod mends;
mod model;
mod options;
mod passing;
mod readers;
mod stale;
mod stores;
mod support;
mod together;
mod validation;

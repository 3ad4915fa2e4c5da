//! Layers together, over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are tests as well")]

mod auth;
mod breaker;
mod breaker_server;
mod breaker_stacks;
mod cache;
#[path = "cache_proxy/front.rs"]
mod front;
mod front_wire;
mod kinds;
mod metrics;
mod orders;
mod otel;
mod over_reqwest;
mod over_tonic;
mod rate_limit;
mod retry;
mod soak;
mod stacks;
mod support;
mod under_axum;
mod uploads;

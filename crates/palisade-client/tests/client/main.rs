//! The client as a black box, over services in place of servers, and over sockets.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests as well")]
#![allow(clippy::disallowed_methods, reason = "servers run beside the test")]

mod allocations;
mod api;
mod attack;
mod blocking;
mod compressed;
mod contract;
#[cfg(feature = "cookies")]
mod cookies;
mod cost;
mod decoding;
mod hops;
mod http2;
mod layers;
mod many;
mod observed;
mod outage;
mod panics;
mod pool;
mod proxies;
mod readers;
mod redirects;
mod requests;
mod responses;
mod secrets;
mod servers;
mod stacks;
mod timeouts;
mod tls;
mod wire;

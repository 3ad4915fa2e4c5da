//! The client as a black box, over services in place of servers.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests as well")]

mod api;
mod cost;
mod decoding;
mod many;
mod requests;
mod responses;
mod secrets;

//! Credentials as a black box, over services in place of servers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are tests as well")]

mod directory;
mod endpoint;
mod faulty_store;
mod lease_store;
mod rotating_server;
mod rotation;
mod sources;
mod store;
mod token_server;

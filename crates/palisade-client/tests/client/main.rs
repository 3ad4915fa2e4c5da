//! The client as a black box, over services in place of servers.

mod api;
mod requests;
mod responses;

//! The limit on requests in flight.

mod body;
mod contract;
mod layer;
mod learning;
mod limiter;
mod support;

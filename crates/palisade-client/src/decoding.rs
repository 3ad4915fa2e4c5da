//! Answers decoded by a layer.

mod decoded;
mod future;
mod layer;
mod service;

pub use self::{decoded::Decoded, future::DecodeFuture, layer::DecodeLayer, service::Decode};

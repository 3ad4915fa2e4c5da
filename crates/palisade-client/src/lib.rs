//! An HTTP client for APIs, made of [tower](tower_service) layers.

#![cfg_attr(palisade_docsrs, feature(doc_cfg))]

mod body;
mod client;

pub use self::{body::Body, client::ClientOf};

//! Signatures of whole requests.

mod body;
mod error;
mod future;
mod layer;
mod service;
mod signer;

pub use self::{
    body::SignedBody,
    error::Unsignable,
    future::SigningFuture,
    layer::SignLayer,
    service::Signed,
    signer::{BodyDigest, Sign, Signable, Signing},
};

//! [Tower](tower_service) layers that attach credentials.

#![cfg_attr(palisade_docsrs, feature(doc_cfg))]

mod authenticator;
mod clock;
mod error;
mod secret;
mod source;
mod store;
mod token;

pub use self::{
    authenticator::{Applied, Authenticator, Refused, Stamp},
    clock::{Clock, Moment},
    error::{AuthError, OAuthError, Recovery},
    secret::Secret,
    source::{Reason, TokenFuture, TokenSource, Wanted},
    store::{Record, StoreFuture, StoreLock, TokenStore, Version},
    token::{InvalidToken, Token},
};

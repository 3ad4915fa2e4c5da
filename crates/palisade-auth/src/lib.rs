//! [Tower](tower_service) layers that attach credentials.

#![cfg_attr(palisade_docsrs, feature(doc_cfg))]

mod authenticator;
mod bypass;
mod challenge;
mod clock;
mod error;
#[cfg(any(test, feature = "__fuzz"))]
mod fuzz;
mod secret;
mod source;
mod store;
mod token;

#[cfg(any(test, feature = "__fuzz"))]
#[doc(hidden)]
pub use self::fuzz::fuzz_challenge;
pub use self::{
    authenticator::{Applied, Authenticator, Refused, Stamp},
    bypass::AuthBypass,
    challenge::{Challenge, challenges},
    clock::{Clock, Moment},
    error::{AuthError, OAuthError, Recovery},
    secret::Secret,
    source::{Reason, TokenFuture, TokenSource, Wanted},
    store::{Record, StoreFuture, StoreLock, TokenStore, Version},
    token::{InvalidToken, Token},
};

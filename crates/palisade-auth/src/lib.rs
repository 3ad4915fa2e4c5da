//! [Tower](tower_service) layers that attach credentials.

#![cfg_attr(palisade_docsrs, feature(doc_cfg))]

mod authenticator;
mod bypass;
mod clock;
mod error;
mod fixed;
#[allow(dead_code)]
mod rules;
mod secret;
mod source;
mod store;
mod token;
#[allow(dead_code)]
mod window;

pub use self::{
    authenticator::{Applied, Authenticator, Refused, Stamp},
    bypass::AuthBypass,
    clock::{Clock, CoarseClock, Moment, TokioClock},
    error::{AuthError, OAuthError, Recovery},
    fixed::{ApiKey, Basic, Bearer, InvalidCredential},
    secret::Secret,
    source::{Reason, TokenFuture, TokenSource, Wanted},
    store::{Record, StoreFuture, StoreLock, TokenStore, Version},
    token::{InvalidToken, Token},
    window::RefreshWindow,
};

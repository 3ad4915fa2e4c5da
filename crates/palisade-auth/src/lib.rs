//! [Tower](tower_service) layers that attach credentials.

#![cfg_attr(palisade_docsrs, feature(doc_cfg))]

mod authenticator;
mod bypass;
mod challenge;
mod client_auth;
mod clock;
mod endpoint;
mod error;
mod expiry;
#[cfg(any(test, feature = "__fuzz"))]
mod fuzz;
mod jwt;
#[cfg(feature = "jwt")]
mod jwt_key;
mod load;
mod secret;
mod source;
mod sources;
mod store;
mod token;

#[cfg(any(test, feature = "__fuzz"))]
#[doc(hidden)]
pub use self::fuzz::{fuzz_challenge, fuzz_token_response};
#[cfg(feature = "jwt")]
#[cfg_attr(palisade_docsrs, doc(cfg(feature = "jwt")))]
pub use self::jwt_key::{InvalidKey, JwtKey};
pub use self::{
    authenticator::{Applied, Authenticator, Refused, Stamp},
    bypass::AuthBypass,
    challenge::{Challenge, challenges},
    client_auth::ClientAuth,
    clock::{Clock, Moment},
    endpoint::{InvalidEndpoint, TokenEndpoint, TokenRequest, UnexpectedResponse},
    error::{AuthError, OAuthError, Recovery},
    jwt::{Claims, JwtSigner},
    load::NotLoaded,
    secret::Secret,
    source::{Reason, TokenFuture, TokenSource, Wanted},
    sources::{
        Chain, ClientCredentials, CustomGrant, FromEnv, FromFile, JwtBearer, RefreshToken,
        SelfSigned, TokenExchange, TokenFn, token_fn,
    },
    store::{
        FileTokenStore, MemoryTokenStore, Record, StoreFuture, StoreLock, TokenFileError,
        TokenStore, Version,
    },
    token::{InvalidToken, Token},
};

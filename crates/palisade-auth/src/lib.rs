//! A [tower](tower_service) layer that puts credentials on requests: tokens that are fresh, are
//! refreshed once, and go nowhere else.
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use bytes::Bytes;
//! use http::{Request, Response, header::AUTHORIZATION};
//! use http_body_util::Full;
//! use palisade_auth::{AuthLayer, Token, TokenFuture, TokenSource, Tokens, Wanted};
//! use palisade_core::Origins;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! /// Gives a token for five minutes.
//! struct Vault;
//!
//! impl TokenSource for Vault {
//!     fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> TokenFuture<'a> {
//!         Box::pin(async move {
//!             let token = Token::bearer("t0ps3cret").expect("it can be a token");
//!             Ok(token.expires_in(Duration::from_secs(300), wanted.now))
//!         })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), palisade_core::BoxError> {
//! // Says what it was sent.
//! let server = service_fn(|request: Request<Full<Bytes>>| async move {
//!     let field = request.headers().get(AUTHORIZATION);
//!     let field = field.map_or("nothing".into(), |value| value.to_str().unwrap().to_owned());
//!     Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(field))))
//! });
//!
//! let tokens = Tokens::new(Vault);
//! let client = ServiceBuilder::new()
//!     .layer(AuthLayer::new(tokens, Origins::new(["https://api.example"])))
//!     .service(server);
//!
//! for (uri, field) in [
//!     ("https://api.example/users?page=1", "Bearer t0ps3cret"),
//!     // Where a link or a redirect led.
//!     ("https://evil.example/users?page=2", "nothing"),
//! ] {
//!     let request = Request::get(uri).body(Full::default())?;
//!     let response = client.clone().oneshot(request).await?;
//!     let body = http_body_util::BodyExt::collect(response.into_body()).await?.to_bytes();
//!     assert_eq!(body, field);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is put on
//!
//! | credentials | by |
//! |---|---|
//! | a token that is kept fresh | [`Tokens`], of a [`TokenSource`] |
//! | one for each tenant or scope | [`TokensByKey`], by the [`Credential`] of the request |
//! | a token that does not change | [`Bearer`], or a [`Token`] |
//! | user and password | [`Basic`] |
//! | an API key | [`ApiKey`]: in a header field, the query or a cookie |
//! | others | your [`Authenticator`] |
//!
//! # A token that is refused
//!
//! A request that is answered with 401 is sent once more, with a token that came since, or that is
//! fetched for it; a second 401 stands, and so does one that says that no token helps, such as
//! `insufficient_scope`. Of many requests with the same token, one has another one fetched. A token
//! that came for one that was refused is not replaced for ten seconds: it may be wrong for this
//! server, and so may be the next one.
//!
//! For that a copy of each request is kept, and a clone of its body; see
//! [`AuthLayer::replay`] for bodies that do not clone, and [`AuthLayer::send_once`] to do without.
//! The method does not matter: a request that is refused is not processed (RFC 9110, section
//! 15.5.2).
//!
//! # Errors
//!
//! A request that cannot have credentials fails with a [`BoxError`](palisade_core::BoxError) in
//! which [`find_cause`](palisade_core::find_cause) finds the [`AuthError`]; its
//! [`Recovery`] says what can be done. There is never a 401 that no server sent.
//!
//! # Where it stands
//!
//! Inside of retries, breakers and limits, so that each attempt has a fresh token, and outside of
//! what follows the request to the network. A layer that follows redirects stands outside: there,
//! credentials go to the [`Origins`](palisade_core::Origins) alone; further in, it copies them.
//!
//! The token may be fetched through the same client, if its requests carry [`AuthBypass`].
//!
//! # Features
//!
//! - `interactive`: `CodeFlow` and `DeviceFlow`, by which people log in.
//! - `jwt`: `JwtKey`, which signs JSON Web Tokens.
//! - `signing`: `SignLayer`, which signs whole requests. It stands inside of this layer.

#![cfg_attr(palisade_docsrs, feature(doc_cfg))]

mod authenticator;
mod bodies;
mod bypass;
mod challenge;
mod client_auth;
mod clock;
mod endpoint;
mod error;
mod expiry;
mod fixed;
mod future;
#[cfg(any(test, feature = "__fuzz"))]
mod fuzz;
mod gate;
#[cfg(feature = "interactive")]
mod interactive;
mod jwt;
#[cfg(feature = "jwt")]
mod jwt_key;
mod layer;
mod load;
mod rules;
mod secret;
mod service;
#[cfg(feature = "signing")]
mod sign;
mod source;
mod sources;
mod store;
mod sync;
mod token;
mod tokens;
mod window;

#[cfg(any(test, feature = "__fuzz"))]
#[doc(hidden)]
pub use self::fuzz::{fuzz_challenge, fuzz_token_response};
#[cfg(feature = "interactive")]
#[cfg_attr(palisade_docsrs, doc(cfg(feature = "interactive")))]
pub use self::interactive::{CodeFlow, CodeLogin, DeviceFlow, DeviceLogin};
#[cfg(feature = "jwt")]
#[cfg_attr(palisade_docsrs, doc(cfg(feature = "jwt")))]
pub use self::jwt_key::{InvalidKey, JwtKey};
#[cfg(feature = "signing")]
#[cfg_attr(palisade_docsrs, doc(cfg(feature = "signing")))]
pub use self::sign::{
    BodyDigest, Sign, SignLayer, Signable, Signed, SignedBody, Signing, SigningFuture, Unsignable,
};
pub use self::{
    authenticator::{Applied, Authenticator, Refused, Stamp},
    bodies::{Bodies, CloneBody, ReplayBodies, SendOnce},
    bypass::AuthBypass,
    challenge::{Challenge, challenges},
    client_auth::ClientAuth,
    clock::{Clock, CoarseClock, Moment, TokioClock},
    endpoint::{InvalidEndpoint, TokenEndpoint, TokenRequest, UnexpectedResponse},
    error::{AuthError, OAuthError, Recovery},
    fixed::{ApiKey, Basic, Bearer, InvalidCredential},
    future::ResponseFuture,
    jwt::{Claims, JwtSigner},
    layer::AuthLayer,
    load::NotLoaded,
    secret::Secret,
    service::Auth,
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
    tokens::{Credential, Tokens, TokensByKey, Wait},
    window::RefreshWindow,
};

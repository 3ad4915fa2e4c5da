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
//! | to | use |
//! |---|---|
//! | keep one token fresh | [`Tokens`], of a [`TokenSource`] |
//! | keep one for each tenant or scope | [`TokensByKey`], by the [`Credential`] or the [`Identity`](palisade_core::Identity) of the request |
//! | get tokens by OAuth 2 | [`ClientCredentials`], [`RefreshToken`], [`JwtBearer`], [`TokenExchange`], [`CustomGrant`] over a [`TokenEndpoint`] |
//! | get them from elsewhere | [`FromEnv`], [`FromFile`], [`SelfSigned`], [`token_fn`], your [`TokenSource`] |
//! | fall back on another source | [`TokenSource::or`], [`Chain`] |
//! | show who a client is | [`ClientAuth`]: Basic, post, signed assertions, none |
//! | sign assertions | `JwtKey`, with the feature `jwt`, or your [`JwtSigner`] |
//! | keep a login over restarts, and among processes | [`FileTokenStore`], or your [`TokenStore`] |
//! | put on a token that does not change | [`Bearer`], or a [`Token`] |
//! | put on user and password | [`Basic`] |
//! | put on an API key | [`ApiKey`]: in a header field, the query or a cookie |
//! | put on anything else | your [`Authenticator`] |
//! | leave a request as it is | [`AuthBypass`] |
//! | see what scope a token lacks | [`InsufficientScope`] |
//!
//! # When a token is refreshed
//!
//! In the last tenth of its life, a minute at most, requests wait for the next
//! one. In a window before that, and not at the same moment in all processes,
//! one request has it fetched in the background, while all go on with the old
//! one; so a token that comes in time costs nobody a wait. If it does not come,
//! the old one is used to its end. [`RefreshWindow`] sets that, and says how it
//! follows from the lifetime.
//!
//! Any number of requests have one token fetched between them, and it belongs
//! to none of them: if all are dropped, it is fetched all the same. What failed
//! is tried again after a back-off, or when the endpoint says; [`Tokens`] has
//! the rules. [`Tokens::warm_up`] fetches the first one while the program
//! starts.
//!
//! # A token that is refused
//!
//! A request that is answered with 401 is sent once more, with a token that
//! came since, or that is fetched for it; a second 401 stands, and so does one
//! that says that no token helps, such as `insufficient_scope`. Of many
//! requests with the same token, one has another one fetched. A token that came
//! for one that was refused is not replaced for ten seconds: it may be wrong
//! for this server, and so may be the next one.
//!
//! For that a copy of each request is kept, and a clone of its body; see
//! [`AuthLayer::replay`] for bodies that do not clone, and
//! [`AuthLayer::send_once`] to do without. The method does not matter: a
//! request that is refused is not processed (RFC 9110, section 15.5.2).
//!
//! # Logins, stores and several processes
//!
//! A server that rotates refresh tokens takes one that is used twice for
//! stolen, and ends the login. So [`RefreshToken`] writes the new one to its
//! [`TokenStore`] before the token is used, and no dropped request interrupts
//! it. A [`FileTokenStore`] that several processes share has one of them
//! refresh at a time, and the others take over what it got. Where an answer is
//! lost on its way, the login is lost with it: the error says to log in anew,
//! and a [`Chain`] goes on to its next source.
//!
//! # Tenants, and a cache above
//!
//! With [`TokensByKey`], a request says by its extensions whose token it gets.
//! A cache belongs outside of this layer, where it sees a request before there
//! is a token to tell tenants apart by; it goes by the
//! [`Identity`](palisade_core::Identity) in the extensions, which this layer
//! reads too, and which [`Credential::put`] sets. One that is inserted without is
//! an error.
//!
//! # Errors
//!
//! A request that cannot have credentials fails with a
//! [`BoxError`](palisade_core::BoxError) in which
//! [`find_cause`](palisade_core::find_cause) finds the [`AuthError`]; its
//! [`Recovery`] says what can be done. There is never a 401 that no server
//! sent.
//!
//! # Where it stands
//!
//! Inside of caches, retries, breakers and limits, so that each attempt has a
//! fresh token, and outside of what follows the request to the network. A layer
//! that follows redirects stands outside as well, where credentials go to the
//! [`Origins`](palisade_core::Origins) alone; inside it would carry an API key
//! along to wherever it is led. The second try after a 401 is
//! seen by what is inside alone: a limit of requests is exact only there.
//!
//! The token may be fetched through the same client, if its requests carry
//! [`AuthBypass`], as those of a [`TokenEndpoint`] do.
//!
//! # What leaks where
//!
//! - **Other hosts**: nothing. Credentials go to the origins that were named,
//!   by scheme, host and port, and never over plain `http`, but to this
//!   machine.
//! - **Logs**: no `Debug` of this crate shows a secret, header values are
//!   marked as sensitive, and no error has a token or the body of a token
//!   endpoint in it. What dumps requests without regard to that mark shows
//!   tokens, and servers and proxies log queries: prefer header fields for API
//!   keys.
//! - **Memory**: secrets are wiped when they are dropped, but a header value
//!   that was made of one cannot be: `http` keeps those.
//! - **Disk**: [`FileTokenStore`] writes plain text that its owner alone may
//!   read. For more, write a [`TokenStore`] over the keyring of the system.
//! - **Token endpoints**: no redirect is followed, and addresses are `https`,
//!   or on this machine.
//!
//! # Cost
//!
//! With a token that is there, a request takes no lock and allocates nothing,
//! but for the copy that a second try is made of: two allocations, which
//! [`AuthLayer::send_once`] saves.
//!
//! # Features
//!
//! None is on by default.
//!
//! - `interactive`: `CodeFlow` and `DeviceFlow`, by which people log in.
//! - `jwt`: `JwtKey`, which signs JSON Web Tokens by aws-lc, whose C code it builds.
//! - `signing`: `SignLayer`, which signs whole requests. It stands inside of this layer.
//!
//! Rust 1.88 or later. Needs a tokio runtime with time enabled, for tokens that
//! are fetched.

#![cfg_attr(palisade_docsrs, feature(doc_cfg))]

mod authenticator;
mod bodies;
mod bypass;
mod challenge;
mod client_auth;
mod clock;
mod credentials;
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
mod scope;
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
    credentials::Credentials,
    endpoint::{InvalidEndpoint, TokenEndpoint, TokenRequest, UnexpectedResponse},
    error::{AuthError, OAuthError, Recovery},
    fixed::{ApiKey, Basic, Bearer, InvalidCredential},
    future::ResponseFuture,
    jwt::{Claims, JwtSigner},
    layer::AuthLayer,
    load::NotLoaded,
    scope::InsufficientScope,
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

//! The token endpoint: a form is posted there, and a token comes back.

mod address;
mod post;
mod request;
mod response;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body::Body;
use palisade_core::{BoxError, Refusal, find_cause};
use tower_service::Service;

use self::post::{Over, Post};
pub use self::{address::InvalidEndpoint, request::TokenRequest, response::UnexpectedResponse};
#[cfg(feature = "interactive")]
pub(crate) use self::{
    address::parse as address,
    response::{is_code, shown},
};
pub(crate) use self::{
    request::{Form, Grant},
    response::parse,
};
use crate::{AuthError, ClientAuth, Moment, OAuthError, Recovery, Token};

/// Where tokens are asked for, and the service that goes there. Clones share it.
///
/// That is any tower HTTP service, such as the client of hyper-util, with whatever
/// layers of retry, metrics and time-outs are around it. The body of its requests is
/// any that is made of [`Bytes`]. It may be the very stack that the tokens are for:
/// the requests are marked as [`AuthBypass`](crate::AuthBypass).
///
/// It must not follow redirects, as reqwest does unless told otherwise: that would
/// send secrets to who knows whom. Here, a redirect is an error. Of a response,
/// 256 KiB are read.
///
/// Requests that may be sent twice are marked as
/// [`Idempotent`](palisade_core::Idempotent); those that use up a refresh token, a
/// code or a signed assertion are not.
///
/// ```
/// # use std::convert::Infallible;
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::Full;
/// use palisade_auth::TokenEndpoint;
///
/// # let client = tower::service_fn(|_: Request<Full<Bytes>>| async {
/// #     Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
/// # });
/// let endpoint = TokenEndpoint::new("https://as.example/token", client.clone());
/// assert_eq!(endpoint.uri().host(), Some("as.example"));
///
/// // Secrets are not sent in the clear, unless to this machine.
/// assert!(TokenEndpoint::try_new("http://as.example/token", client.clone()).is_err());
/// assert!(TokenEndpoint::try_new("http://127.0.0.1:8080/token", client).is_ok());
/// ```
#[derive(Clone)]
#[must_use]
pub struct TokenEndpoint {
    uri: Uri,
    scheme: Option<Arc<str>>,
    post: Arc<dyn Post>,
}

impl TokenEndpoint {
    /// The endpoint at an address, by way of a service.
    ///
    /// # Panics
    ///
    /// If the address is none: see [`try_new`](Self::try_new).
    #[track_caller]
    pub fn new<S, B, R>(uri: &str, service: S) -> Self
    where
        S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: From<Bytes> + Send + 'static,
        R: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        match Self::try_new(uri, service) {
            Ok(endpoint) => endpoint,
            Err(invalid) => panic!("{invalid}"),
        }
    }

    /// The same, of an address that comes from outside.
    ///
    /// # Errors
    ///
    /// If the address does not start with `https://`, or with `http://` and a
    /// loopback host; if it holds a password or a fragment, or is no URI.
    pub fn try_new<S, B, R>(uri: &str, service: S) -> Result<Self, InvalidEndpoint>
    where
        S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: From<Bytes> + Send + 'static,
        R: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let post = Arc::new(Over::<S, B>::new(service));
        Ok(Self { uri: address::parse(uri)?, scheme: None, post })
    }

    /// Sets the scheme of the tokens, for servers whose `token_type` is none.
    /// Defaults to their `token_type`, or else to `Bearer`.
    pub fn scheme(mut self, scheme: &str) -> Self {
        self.scheme = Some(scheme.into());
        self
    }

    /// Its address.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Asks for a token.
    pub(crate) async fn ask(
        &self,
        grant: Grant,
        client: Option<&ClientAuth>,
        now: Moment,
    ) -> Result<Token, AuthError> {
        let scheme = self.scheme.as_deref();
        let read =
            |status, headers: &_, body: Option<&_>| parse(status, headers, body, now, scheme);
        self.post(&self.uri, grant, client, now, read).await
    }

    /// Asks for something else, by the same service at another address.
    #[cfg(feature = "interactive")]
    pub(crate) async fn ask_at(
        &self,
        uri: &Uri,
        form: Form,
        client: &ClientAuth,
        now: Moment,
    ) -> Result<serde_json::Map<String, serde_json::Value>, AuthError> {
        let grant = Grant { form, idempotent: true };
        let read =
            |status, headers: &_, body: Option<&_>| response::success(status, headers, body, now);
        self.post(uri, grant, Some(client), now, read).await
    }

    async fn post<T>(
        &self,
        uri: &Uri,
        grant: Grant,
        client: Option<&ClientAuth>,
        now: Moment,
        read: impl Fn(StatusCode, &HeaderMap, Option<&[u8]>) -> Result<T, AuthError>,
    ) -> Result<T, AuthError> {
        let mut request = TokenRequest::new(uri.clone(), now, grant);
        if let Some(client) = client {
            client.apply(&mut request)?;
        }
        let answer = self.post.post(request.to_http()).await.map_err(unreachable)?;
        let body = answer.body.as_ref().map(|body| &body[..]);
        read(answer.status, &answer.headers, body).map_err(|error| discreet(error, &request))
    }
}

fn unreachable(error: BoxError) -> AuthError {
    let after = find_cause::<Refusal>(&*error).and_then(Refusal::retry_after);
    AuthError::new("the token endpoint did not answer", Recovery::Retry { after })
        .with_source(error)
}

/// The same error, without the text of a server that repeats what is secret.
fn discreet(error: AuthError, request: &TokenRequest) -> AuthError {
    let Some(oauth) = error.oauth() else {
        return error;
    };
    let texts = [Some(oauth.code()), oauth.description(), oauth.uri()];
    let [code, rest @ ..] = texts.map(|text| text.is_some_and(|text| request.is_repeated_by(text)));
    if !code && !rest.contains(&true) {
        return error;
    }
    let code = if code { "unknown" } else { oauth.code() };
    let oauth = OAuthError::new(code, oauth.status());
    error.with_oauth(oauth)
}

impl fmt::Debug for TokenEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenEndpoint").field("uri", &self.uri).finish_non_exhaustive()
    }
}

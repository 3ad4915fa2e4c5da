use std::{borrow::Cow, fmt, net::Ipv4Addr, sync::Arc, time::Duration};

use futures_util::FutureExt;
use http::{StatusCode, Uri};
use tokio::{
    net::TcpListener,
    time::{Instant, timeout_at},
};

use super::{Ongoing, ask, callback::Expected, loopback, pkce};
use crate::{
    AuthError, ClientAuth, Clock, CoarseClock, InvalidEndpoint, Recovery, Secret, Token,
    TokenEndpoint,
    endpoint::{Form, Grant, address},
};

/// Logins of somebody with a browser on this machine: the grant of an authorization
/// code (RFC 6749, section 4.1) with a proof that it is ours (RFC 7636, S256), which
/// the browser brings to a port of the loopback interface (RFC 8252).
///
/// ```no_run
/// # use std::convert::Infallible;
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::Full;
/// use palisade_auth::{CodeFlow, TokenEndpoint};
///
/// # async fn log_in() -> Result<(), Box<dyn std::error::Error>> {
/// # let client = tower::service_fn(|_: Request<Full<Bytes>>| async move {
/// #     Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
/// # });
/// // `client` is any tower HTTP service, as that of hyper-util.
/// let endpoint = TokenEndpoint::new("https://as.example/token", client);
/// let flow = CodeFlow::new(endpoint, "https://as.example/authorize", "cli")
///     .issuer("https://as.example")
///     .scope("offline_access");
///
/// let login = flow.begin().await?;
/// println!("Open {}", login.url());
/// let token = login.token().await?;
/// # Ok(())
/// # }
/// ```
///
/// The token is for [`RefreshToken::log_in`](crate::RefreshToken::log_in), if it came
/// with a refresh token, or for [`Tokens::prime`](crate::Tokens::prime).
#[derive(Clone, Debug)]
#[must_use]
pub struct CodeFlow {
    endpoint: TokenEndpoint,
    uri: Uri,
    client_id: String,
    client: ClientAuth,
    issuer: Option<String>,
    port: u16,
    path: String,
    timeout: Duration,
    // Of the address, and of the request for the token.
    params: Vec<(Cow<'static, str>, Secret)>,
    form: Form,
    clock: Arc<dyn Clock>,
}

impl CodeFlow {
    /// Logins for a client, by a token endpoint and the authorization endpoint that
    /// belongs to it: the page of the login.
    ///
    /// # Panics
    ///
    /// If the address is none: see [`try_new`](Self::try_new).
    #[track_caller]
    pub fn new(
        endpoint: TokenEndpoint,
        authorization_endpoint: &str,
        client_id: impl Into<String>,
    ) -> Self {
        match Self::try_new(endpoint, authorization_endpoint, client_id) {
            Ok(flow) => flow,
            Err(invalid) => panic!("{invalid}"),
        }
    }

    /// The same, of an address that comes from outside.
    ///
    /// # Errors
    ///
    /// If no [`TokenEndpoint`](TokenEndpoint::try_new) could have the address.
    pub fn try_new(
        endpoint: TokenEndpoint,
        authorization_endpoint: &str,
        client_id: impl Into<String>,
    ) -> Result<Self, InvalidEndpoint> {
        let client_id = client_id.into();
        Ok(Self {
            endpoint,
            uri: address(authorization_endpoint)?,
            client: ClientAuth::none(client_id.clone()),
            client_id,
            issuer: None,
            port: 0,
            path: "/callback".into(),
            timeout: Duration::from_secs(300),
            params: Vec::new(),
            form: Form::default(),
            clock: Arc::new(CoarseClock),
        })
    }

    /// Sets how the client shows who it is when it asks for the token. Defaults to its
    /// name alone, as a program on a user's machine can keep no secret.
    pub fn client(mut self, client: ClientAuth) -> Self {
        self.client = client;
        self
    }

    /// Sets who has to have answered, if the answer says who has (RFC 9207). Who logs
    /// in at several servers should set it. Defaults to anybody.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Sets what the token has to be good for, with a space between two scopes.
    /// Defaults to what the server gives.
    pub fn scope(self, scope: impl Into<String>) -> Self {
        self.param("scope", scope.into())
    }

    /// Adds an API that the token is for, by its address (RFC 8707). Defaults to none.
    pub fn resource(mut self, resource: impl Into<String>) -> Self {
        let resource = resource.into();
        self.form.plain("resource", resource.clone());
        self.param("resource", resource)
    }

    /// Adds a parameter to the address of the page, such as `prompt`. Defaults to none.
    pub fn param(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Secret>) -> Self {
        self.params.push((name.into(), value.into()));
        self
    }

    /// Sets the port, for servers that want to know it before. Defaults to any that is
    /// free.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Sets the path of the redirect URI. Defaults to `/callback`.
    ///
    /// # Panics
    ///
    /// If it does not begin with a `/`.
    #[track_caller]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        assert!(self.path.starts_with('/'), "a path begins with a `/`");
        self
    }

    /// Sets how long the browser is waited for, up to a day. Defaults to five minutes.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(Duration::from_secs(24 * 60 * 60));
        self
    }

    /// Sets the clock of the tokens. Defaults to [`CoarseClock`].
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Opens the port, and says what the browser has to be shown.
    ///
    /// # Errors
    ///
    /// If there is no such port.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves nothing behind.
    pub async fn begin(&self) -> Result<CodeLogin, AuthError> {
        let closed = |error: std::io::Error| {
            let message = "no port of the loopback interface can be had";
            AuthError::new(message, Recovery::Retry { after: None }).with_source(error)
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await.map_err(closed)?;
        let port = listener.local_addr().map_err(closed)?.port();
        let redirect = format!("http://{}:{port}{}", Ipv4Addr::LOCALHOST, self.path);
        let (state, verifier) = (pkce::random(), pkce::random());
        let url = self.url(&redirect, &state, &verifier);
        let path = self.path.clone();
        let expected = Expected { path, state, issuer: self.issuer.clone() };
        let until = Instant::now() + self.timeout;
        let ongoing = finish(self.clone(), listener, expected, redirect, verifier, until);
        Ok(CodeLogin { url: url.into(), ongoing: ongoing.boxed().shared() })
    }

    fn url(&self, redirect: &str, state: &Secret, verifier: &Secret) -> String {
        // RFC 6749, section 3.1: a query that is there stays.
        let mut url = self.uri.to_string();
        let start = match url.find('?') {
            Some(start) => start + 1,
            None => {
                url.push('?');
                url.len()
            }
        };
        let mut query = form_urlencoded::Serializer::for_suffix(url, start);
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", redirect)
            .append_pair("state", state.expose())
            .append_pair("code_challenge", &pkce::challenge(verifier))
            .append_pair("code_challenge_method", "S256");
        for (name, value) in &self.params {
            query.append_pair(name, value.expose());
        }
        query.finish()
    }
}

async fn finish(
    flow: CodeFlow,
    listener: TcpListener,
    expected: Expected,
    redirect: String,
    verifier: Secret,
    until: Instant,
) -> Result<Token, AuthError> {
    let late = |_| AuthError::new("nobody has logged in in time", Recovery::Reauthenticate);
    let broken = |error| {
        let message = "the port of the loopback interface is broken";
        AuthError::new(message, Recovery::Retry { after: None }).with_source(error)
    };
    let answer = timeout_at(until, loopback::wait(&listener, &expected)).await.map_err(late)?;
    let (browser, code) = answer.map_err(broken)?;
    // There is one answer.
    drop(listener);
    let token = match code {
        Ok(code) => {
            let mut grant = Grant::new("authorization_code");
            grant.form.secret("code", code);
            grant.form.plain("redirect_uri", redirect);
            grant.form.secret("code_verifier", verifier);
            grant.form.extend(&flow.form);
            ask(&flow.endpoint, grant, &flow.client, flow.clock.now()).await
        }
        Err(error) => Err(error),
    };
    let (status, text) = match token {
        Ok(_) => (StatusCode::OK, "You are logged in, and can close this page."),
        Err(_) => (StatusCode::BAD_REQUEST, "The login has failed: the program says why."),
    };
    browser.show(status, text).await;
    token
}

/// A login that somebody has to finish in a browser. Clones are the same; once all are
/// dropped, the port is closed.
#[derive(Clone)]
pub struct CodeLogin {
    url: Arc<str>,
    ongoing: Ongoing,
}

impl CodeLogin {
    /// The page that the browser has to open.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits until the user has agreed, and gets the token.
    ///
    /// One answer is taken. Requests that do not know the `state` of this login are
    /// refused, and end nothing: any page can have a browser send them.
    ///
    /// # Errors
    ///
    /// If the server says that the login has failed, if it gives no token, or if nobody
    /// comes in time.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it goes on when it is called again; all calls come to the same.
    pub async fn token(&self) -> Result<Token, AuthError> {
        self.ongoing.clone().await
    }
}

/// The address has the `state` in it.
impl fmt::Debug for CodeLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let page = self.url.split('?').next();
        f.debug_struct("CodeLogin").field("page", &page).finish_non_exhaustive()
    }
}

use std::{fmt, sync::Arc, time::Duration};

use futures_util::FutureExt;
use http::Uri;
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep_until};

use super::{Ongoing, ask, polling::Polling};
use crate::{
    AuthError, ClientAuth, Clock, CoarseClock, InvalidEndpoint, Recovery, Secret, Token,
    TokenEndpoint,
    endpoint::{Form, Grant, address},
    expiry,
};

/// Logins of somebody who has a browser elsewhere, as on a phone: the device grant
/// (RFC 8628). The program shows an address and a code, and asks until they were used.
///
/// ```
/// # use std::{collections::VecDeque, convert::Infallible, sync::{Arc, Mutex}};
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::Full;
/// use palisade_auth::{ClientAuth, DeviceFlow, TokenEndpoint};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let answers = Arc::new(Mutex::new(VecDeque::from([
/// #     r#"{"device_code":"d","user_code":"WDJB-MJHT","verification_uri":"https://as.example/device","expires_in":600}"#,
/// #     r#"{"error":"authorization_pending"}"#,
/// #     r#"{"access_token":"2YotnFZFEjr1zCsicMWpAA","expires_in":3600,"refresh_token":"r"}"#,
/// # ])));
/// # let client = tower::service_fn(move |_: Request<Full<Bytes>>| {
/// #     let answer = answers.lock().unwrap().pop_front().unwrap();
/// #     async move { Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(answer))) }
/// # });
/// // `client` is any tower HTTP service, as that of hyper-util.
/// let endpoint = TokenEndpoint::new("https://as.example/token", client);
/// let flow = DeviceFlow::new(endpoint, "https://as.example/device_authorization", ClientAuth::none("tv"))
///     .scope("offline_access");
///
/// let login = flow.begin().await?;
/// let shown = format!("Open {} and type {}", login.verification_uri(), login.user_code());
/// assert_eq!(shown, "Open https://as.example/device and type WDJB-MJHT");
///
/// let token = login.token().await?;
/// assert_eq!(token.header(), "Bearer 2YotnFZFEjr1zCsicMWpAA");
/// # Ok(())
/// # }
/// ```
///
/// The token is for [`RefreshToken::log_in`](crate::RefreshToken::log_in), if it came
/// with a refresh token, or for [`Tokens::prime`](crate::Tokens::prime).
#[derive(Clone, Debug)]
#[must_use]
pub struct DeviceFlow {
    endpoint: TokenEndpoint,
    uri: Uri,
    client: ClientAuth,
    form: Form,
    clock: Arc<dyn Clock>,
}

impl DeviceFlow {
    /// Logins for a client, by a token endpoint and the device authorization endpoint
    /// that belongs to it, which is reached by the same service.
    ///
    /// # Panics
    ///
    /// If the address is none: see [`try_new`](Self::try_new).
    #[track_caller]
    pub fn new(endpoint: TokenEndpoint, device_endpoint: &str, client: ClientAuth) -> Self {
        match Self::try_new(endpoint, device_endpoint, client) {
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
        device_endpoint: &str,
        client: ClientAuth,
    ) -> Result<Self, InvalidEndpoint> {
        let uri = address(device_endpoint)?;
        Ok(Self { endpoint, uri, client, form: Form::default(), clock: Arc::new(CoarseClock) })
    }

    /// Sets what the token has to be good for, with a space between two scopes.
    /// Defaults to what the server gives.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.form.plain("scope", scope);
        self
    }

    /// Adds a parameter of which only this server knows. Defaults to none. Nothing
    /// shows its value.
    pub fn param(
        mut self,
        name: impl Into<std::borrow::Cow<'static, str>>,
        value: impl Into<Secret>,
    ) -> Self {
        self.form.secret(name, value);
        self
    }

    /// Sets the clock of the tokens. Defaults to [`CoarseClock`].
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Gets a code that the user has to type.
    ///
    /// # Errors
    ///
    /// If the server gives none.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the code is nobody's, and expires.
    pub async fn begin(&self) -> Result<DeviceLogin, AuthError> {
        let Self { endpoint, uri, client, form, clock } = self;
        let asked = Instant::now();
        let answer = endpoint.ask_at(uri, form.clone(), client, clock.now()).await?;
        let answer = Answer::read(answer).ok_or_else(|| {
            AuthError::new("the answer for the device makes no sense", Recovery::Fatal)
        })?;
        let polling = Polling::new(asked, answer.interval, answer.lifetime);
        let ongoing = poll(self.clone(), answer.device_code.clone(), polling).boxed().shared();
        Ok(DeviceLogin { answer, ongoing })
    }
}

async fn poll(
    flow: DeviceFlow,
    device_code: Secret,
    mut polling: Polling,
) -> Result<Token, AuthError> {
    let mut next = polling.first(Instant::now())?;
    loop {
        sleep_until(next).await;
        let mut grant = Grant::new("urn:ietf:params:oauth:grant-type:device_code");
        grant.form.secret("device_code", device_code.clone());
        match ask(&flow.endpoint, grant, &flow.client, flow.clock.now()).await {
            Ok(token) => return Ok(token),
            Err(error) => next = polling.next(Instant::now(), error)?,
        }
    }
}

/// A login that somebody has to finish elsewhere. Clones are the same.
#[derive(Clone)]
pub struct DeviceLogin {
    answer: Answer,
    ongoing: Ongoing,
}

impl DeviceLogin {
    /// What the user has to type.
    pub fn user_code(&self) -> &str {
        &self.answer.user_code
    }

    /// Where the user has to type it.
    pub fn verification_uri(&self) -> &str {
        &self.answer.verification_uri
    }

    /// The same with the code in it, as for a picture that a phone reads, if the server
    /// gave one. The code should be shown beside it, so that the user can compare it.
    pub fn verification_uri_complete(&self) -> Option<&str> {
        self.answer.complete.as_deref()
    }

    /// How long the code lives.
    pub fn lifetime(&self) -> Duration {
        self.answer.lifetime
    }

    /// Asks until the user has agreed, as often as the server allows.
    ///
    /// # Errors
    ///
    /// If the user denies it, if the code expires, or if the server refuses the client.
    /// What may pass, such as a network that is gone, is waited for.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it goes on when it is called again, and with the request that was on
    /// its way; all calls come to the same.
    pub async fn token(&self) -> Result<Token, AuthError> {
        self.ongoing.clone().await
    }
}

/// Who sees the code may take the login.
impl fmt::Debug for DeviceLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceLogin")
            .field("verification_uri", &self.answer.verification_uri)
            .field("lifetime", &self.answer.lifetime)
            .finish_non_exhaustive()
    }
}

/// RFC 8628, section 3.2.
#[derive(Clone)]
struct Answer {
    device_code: Secret,
    user_code: String,
    verification_uri: String,
    complete: Option<String>,
    lifetime: Duration,
    interval: Duration,
}

impl Answer {
    fn read(mut members: Map<String, Value>) -> Option<Self> {
        let mut text = |name: &str| match members.remove(name) {
            Some(Value::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        };
        let device_code = Secret::new(text("device_code")?);
        // They are shown on a terminal, which would obey them.
        let user_code = text("user_code").filter(|code| !code.chars().any(char::is_control))?;
        // By its other name with Google.
        let verification_uri = text("verification_uri").or_else(|| text("verification_url"));
        let verification_uri = verification_uri.filter(|uri| is_page(uri))?;
        let complete = text("verification_uri_complete").filter(|uri| is_page(uri));
        let seconds = |name| members.get(name).and_then(expiry::expires_in);
        Some(Self {
            device_code,
            user_code,
            verification_uri,
            complete,
            lifetime: seconds("expires_in")?,
            interval: seconds("interval").unwrap_or(Duration::from_secs(5)),
        })
    }
}

/// Whether a browser shows what is there.
fn is_page(uri: &str) -> bool {
    let scheme = uri.parse::<Uri>().ok().and_then(|uri| uri.scheme().cloned());
    scheme.is_some_and(|scheme| scheme.as_str() == "https" || scheme.as_str() == "http")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<Answer> {
        Answer::read(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn an_answer_is_read_as_the_specification_has_it() {
        // RFC 8628, section 3.2.
        let answer = read(
            r#"{
                "device_code": "GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS",
                "user_code": "WDJB-MJHT",
                "verification_uri": "https://example.com/device",
                "verification_uri_complete": "https://example.com/device?user_code=WDJB-MJHT",
                "expires_in": 1800,
                "interval": 7
            }"#,
        )
        .unwrap();
        assert_eq!((&*answer.user_code, answer.interval.as_secs()), ("WDJB-MJHT", 7));
        assert_eq!(answer.lifetime, Duration::from_secs(1800));
        assert!(answer.complete.unwrap().ends_with("=WDJB-MJHT"));
    }

    #[test]
    fn an_answer_that_cannot_be_shown_is_none() {
        for (code, uri, more, fine) in [
            ("A", "https://a/", r#""expires_in":"60""#, true),
            ("A", "http://a/", r#""expires_in":60"#, true),
            ("A", "https://a/", r#""interval":5"#, false),
            ("", "https://a/", r#""expires_in":60"#, false),
            (r"A\u001b[2J", "https://a/", r#""expires_in":60"#, false),
            ("A", r"https://a/\u001b[2J", r#""expires_in":60"#, false),
            ("A", "javascript:alert(1)", r#""expires_in":60"#, false),
            ("A", "/device", r#""expires_in":60"#, false),
        ] {
            let json = format!(
                r#"{{"device_code":"d","user_code":"{code}","verification_uri":"{uri}",{more}}}"#
            );
            assert_eq!(read(&json).is_some(), fine, "{json}");
        }
    }
}

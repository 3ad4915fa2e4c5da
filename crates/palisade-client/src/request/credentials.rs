use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, header::AUTHORIZATION};

use super::RequestBuilder;
use crate::invalid::Invalid;

/// Credentials of one request, in place of those that all requests of a client have: its
/// defaults, and its `auth`. They go wherever the request leads, but not along with a redirect
/// to another origin.
impl<S> RequestBuilder<S> {
    /// Sets a user name and a password (RFC 7617), as UTF-8.
    ///
    /// It is an error if the user name has a colon, or either has control characters.
    ///
    /// ```
    /// # use palisade_client::ClientOf;
    /// # let client = ClientOf::from_service(()).base_url("https://api.example");
    /// let request = client.get("/me").basic_auth("aladdin", Some("open sesame")).build()?;
    /// assert_eq!(request.headers()["authorization"], "Basic YWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    /// # Ok::<_, palisade_client::Error>(())
    /// ```
    pub fn basic_auth(self, user: &str, password: Option<&str>) -> Self {
        self.authorize(basic(user, password.unwrap_or_default()))
    }

    /// Sets a bearer token (RFC 6750). It is an error if it is not of visible ASCII alone.
    ///
    /// One that expires is kept fresh by `Tokens` of `palisade-auth`, for all requests.
    pub fn bearer_auth(self, token: &str) -> Self {
        self.authorize(bearer(token))
    }

    fn authorize(self, value: Result<String, Invalid>) -> Self {
        self.and_then(|request| {
            let value = HeaderValue::try_from(value?).map_err(|_| Invalid::new(TOO_LONG))?;
            request.put(AUTHORIZATION, value)
        })
    }
}

const TOO_LONG: &str = "the credentials are too long for a header field";

fn basic(user: &str, password: &str) -> Result<String, Invalid> {
    // RFC 7617, section 2: it would end there, and the password begin.
    if user.contains(':') {
        return Err(Invalid::new("a user name must not have a colon"));
    }
    if [user, password].into_iter().flat_map(str::chars).any(char::is_control) {
        let text = "a user name or password must not have control characters: trim it";
        return Err(Invalid::new(text));
    }
    let mut value = String::from("Basic ");
    BASE64_STANDARD.encode_string(format!("{user}:{password}"), &mut value);
    Ok(value)
}

fn bearer(token: &str) -> Result<String, Invalid> {
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let text = "a bearer token must be of visible ASCII, and not empty: trim it";
        return Err(Invalid::new(text));
    }
    Ok(format!("Bearer {token}"))
}

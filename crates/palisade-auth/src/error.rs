use std::{error::Error, fmt, sync::Arc, time::Duration};

use http::StatusCode;
use palisade_core::{BoxError, ErrorKind, Refusal};

use crate::InvalidToken;

/// There are no credentials for a request. Clones share the cause.
///
/// It never shows a token, a secret or the body of a response.
#[derive(Clone, Debug)]
pub struct AuthError {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    message: &'static str,
    recovery: Recovery,
    oauth: Option<OAuthError>,
    source: Option<BoxError>,
    // Tells layers outside that the request was not sent, and when it may be.
    refusal: Refusal,
}

/// What can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recovery {
    /// It may work later: the token endpoint fails, or cannot be reached.
    Retry {
        /// After how long, if that is known.
        after: Option<Duration>,
    },
    /// The login is gone: somebody has to log in anew.
    Reauthenticate,
    /// What was sent is refused: the client, its secret, a scope. It has to be set
    /// right.
    FixRequest,
    /// Nothing can be done here: the answer makes no sense, or a store is broken.
    Fatal,
}

/// What a token endpoint said in place of a token: RFC 6749, section 5.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthError {
    code: String,
    description: Option<String>,
    uri: Option<String>,
    status: StatusCode,
}

impl AuthError {
    /// An error, in one lower-case line without a full stop.
    pub fn new(message: &'static str, recovery: Recovery) -> Self {
        Self::of(message, recovery, None, None)
    }

    /// The same, and what it came from.
    pub fn with_source(self, source: impl Into<BoxError>) -> Self {
        let Inner { message, recovery, .. } = *self.inner;
        let oauth = self.inner.oauth.clone();
        Self::of(message, recovery, oauth, Some(source.into()))
    }

    /// The same, and what the token endpoint said.
    pub fn with_oauth(self, oauth: OAuthError) -> Self {
        let Inner { message, recovery, .. } = *self.inner;
        Self::of(message, recovery, Some(oauth), None)
    }

    fn of(
        message: &'static str,
        recovery: Recovery,
        oauth: Option<OAuthError>,
        source: Option<BoxError>,
    ) -> Self {
        let refusal = Refusal::new(ErrorKind::Auth);
        let refusal = match recovery {
            Recovery::Retry { after: Some(after) } => refusal.after(after),
            _ => refusal,
        };
        Self { inner: Arc::new(Inner { message, recovery, oauth, source, refusal }) }
    }

    /// What can be done about it.
    pub fn recovery(&self) -> Recovery {
        self.inner.recovery
    }

    /// After how long it may work, if that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.inner.recovery {
            Recovery::Retry { after } => after,
            _ => None,
        }
    }

    /// What the token endpoint said, if it did.
    pub fn oauth(&self) -> Option<&OAuthError> {
        self.inner.oauth.as_ref()
    }
}

impl OAuthError {
    /// What was said, and with which status.
    pub fn new(code: impl Into<String>, status: StatusCode) -> Self {
        Self { code: code.into(), description: None, uri: None, status }
    }

    /// Sets the description. Defaults to none.
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Sets the address of a page about it. Defaults to none.
    pub fn with_uri(mut self, uri: impl Into<String>) -> Self {
        self.uri = Some(uri.into());
        self
    }

    /// The code, such as `invalid_grant`.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// A text for developers.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// A page about it.
    pub fn uri(&self) -> Option<&str> {
        self.uri.as_deref()
    }

    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.inner.message)?;
        let Some(oauth) = &self.inner.oauth else {
            return Ok(());
        };
        write!(f, ": {}", oauth.code)?;
        match &oauth.description {
            Some(description) => write!(f, " ({description})"),
            None => Ok(()),
        }
    }
}

/// What was given for a token can be none.
impl From<InvalidToken> for AuthError {
    fn from(invalid: InvalidToken) -> Self {
        Self::new("what was given is no token", Recovery::Fatal).with_source(invalid)
    }
}

impl Error for AuthError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.inner.source {
            Some(source) => Some(&**source),
            None => Some(&self.inner.refusal),
        }
    }
}

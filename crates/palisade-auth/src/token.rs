use std::{fmt, sync::Arc, time::Duration};

use http::HeaderValue;

use crate::{Moment, Secret};

/// A token, and what is known of it. Clones share it.
#[derive(Clone)]
pub struct Token {
    parts: Arc<Parts>,
}

struct Parts {
    // All of the field `Authorization`, made once.
    value: HeaderValue,
    secret: Secret,
    scheme: String,
    asked: Option<Moment>,
    lifetime: Option<Duration>,
    scope: Option<String>,
    refresh: Option<Secret>,
}

impl Token {
    /// A bearer token (RFC 6750) that lives until it is refused.
    ///
    /// # Errors
    ///
    /// If it is empty, or has other letters than a header field may have.
    pub fn bearer(token: impl Into<Secret>) -> Result<Self, InvalidToken> {
        Self::new("Bearer", token)
    }

    /// A token of another scheme, such as `DPoP`, `Token` or `GoogleLogin`.
    ///
    /// # Errors
    ///
    /// If the token or the scheme is empty, or has other letters than a header
    /// field may have.
    pub fn new(scheme: &str, token: impl Into<Secret>) -> Result<Self, InvalidToken> {
        let secret = token.into();
        let graphic =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !graphic(scheme) || !graphic(secret.expose()) {
            return Err(InvalidToken(()));
        }
        let text = zeroize::Zeroizing::new(format!("{scheme} {}", secret.expose()));
        let mut value = HeaderValue::try_from(text.as_str()).map_err(|_| InvalidToken(()))?;
        value.set_sensitive(true);
        let scheme = scheme.to_owned();
        let parts = Parts {
            value,
            secret,
            scheme,
            asked: None,
            lifetime: None,
            scope: None,
            refresh: None,
        };
        Ok(Self { parts: Arc::new(parts) })
    }

    /// Sets for how long it lives from the moment on at which it was asked for.
    /// Defaults to until it is refused.
    pub fn expires_in(self, lifetime: Duration, asked: Moment) -> Self {
        self.with(|parts| (parts.lifetime, parts.asked) = (Some(lifetime), Some(asked)))
    }

    /// Sets what it is good for, as the server says. Defaults to what was asked
    /// for.
    pub fn scope(self, scope: impl Into<String>) -> Self {
        self.with(|parts| parts.scope = Some(scope.into()))
    }

    /// Sets the token that came with it for its renewal. Defaults to none.
    pub fn refresh_token(self, token: impl Into<Secret>) -> Self {
        self.with(|parts| parts.refresh = Some(token.into()))
    }

    /// The value of the field `Authorization`, marked as sensitive.
    pub fn header(&self) -> &HeaderValue {
        &self.parts.value
    }

    /// The token itself.
    pub fn secret(&self) -> &Secret {
        &self.parts.secret
    }

    /// The scheme, as in `Bearer`.
    pub fn scheme(&self) -> &str {
        &self.parts.scheme
    }

    /// How long it lives from the moment on at which it was asked for, if that
    /// is known.
    pub fn lifetime(&self) -> Option<Duration> {
        self.parts.lifetime
    }

    /// When it was asked for.
    pub fn asked(&self) -> Option<Moment> {
        self.parts.asked
    }

    /// What it is good for, if the server said so.
    pub fn granted_scope(&self) -> Option<&str> {
        self.parts.scope.as_deref()
    }

    /// The token that came with it for its renewal.
    pub fn renewal(&self) -> Option<&Secret> {
        self.parts.refresh.as_ref()
    }

    fn with(self, change: impl FnOnce(&mut Parts)) -> Self {
        let mut parts = Arc::unwrap_or_clone(self.parts);
        change(&mut parts);
        Self { parts: Arc::new(parts) }
    }
}

impl Clone for Parts {
    fn clone(&self) -> Self {
        Self {
            value: self.value.clone(),
            secret: self.secret.clone(),
            scheme: self.scheme.clone(),
            asked: self.asked,
            lifetime: self.lifetime,
            scope: self.scope.clone(),
            refresh: self.refresh.clone(),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("scheme", &self.parts.scheme)
            .field("lifetime", &self.parts.lifetime)
            .finish_non_exhaustive()
    }
}

/// A text that can be no token: it is empty, or has letters that no header field
/// may have, such as the line break at the end of a file. It is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidToken(());

impl fmt::Display for InvalidToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the token is empty or has letters other than visible ASCII: trim it")
    }
}

impl std::error::Error for InvalidToken {}

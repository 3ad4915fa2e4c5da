use std::{fmt, sync::Arc, time::Duration};

use crate::{
    AuthError, Claims, JwtSigner, Token, TokenFuture, TokenSource, Wanted,
    jwt::{self, BACKDATE, Span},
};

/// Tokens that are made here: JSON Web Tokens, signed with a key of which the API
/// has the other half, as for a GitHub App, the App Store or accounts of Google.
///
/// ```
/// # use std::time::{Duration, SystemTime};
/// # use palisade_auth::{AuthError, Moment, Wanted};
/// use palisade_auth::{Claims, SelfSigned, TokenSource};
/// # use palisade_auth::JwtSigner;
/// # struct Key;
/// # impl JwtSigner for Key {
/// #     fn algorithm(&self) -> &str { "none" }
/// #     fn sign(&self, _: &[u8]) -> Result<Vec<u8>, palisade_core::BoxError> { Ok(Vec::new()) }
/// # }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), AuthError> {
/// # let now = Moment::new(SystemTime::UNIX_EPOCH, Duration::ZERO);
/// # let key = Key;
/// // `key` is a `JwtKey`, or another `JwtSigner`.
/// let app = SelfSigned::new(key, Claims::new().issuer("12345"))
///     .lifetime(Duration::from_secs(600));
///
/// let token = app.fetch(Wanted::first(now)).await?;
/// assert_eq!(token.lifetime(), Some(Duration::from_secs(590)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct SelfSigned {
    signer: Arc<dyn JwtSigner>,
    claims: Claims,
    span: Span,
}

impl SelfSigned {
    /// Tokens that say this, signed so. To it are added when they were made, when
    /// they expire, and a `jti` that no other has.
    pub fn new(signer: impl JwtSigner, claims: Claims) -> Self {
        let span = Span { backdate: BACKDATE, lifetime: Duration::from_secs(5 * 60) };
        Self { signer: Arc::new(signer), claims, span }
    }

    /// Sets how long a token lives, from `iat` to `exp`, in whole seconds. Defaults
    /// to 5 minutes. APIs have a cap: 10 minutes for GitHub, 20 for the App Store.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.span.lifetime = lifetime;
        self
    }

    /// Sets how long before it is made a token begins, as the clock of the API may be
    /// behind. That is taken off its life. Defaults to 10 seconds.
    pub fn backdate(mut self, backdate: Duration) -> Self {
        self.span.backdate = backdate;
        self
    }

    fn make(&self, wanted: Wanted<'_>) -> Result<Token, AuthError> {
        let claims = match wanted.scope {
            Some(scope) => &self.claims.clone().claim("scope", scope),
            None => &self.claims,
        };
        let token = jwt::make(&*self.signer, claims, self.span, wanted.now)?;
        Ok(Token::bearer(token)?.expires_in(self.span.left(), wanted.now))
    }
}

impl TokenSource for SelfSigned {
    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> TokenFuture<'a> {
        Box::pin(async move { self.make(wanted) })
    }
}

impl fmt::Debug for SelfSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("SelfSigned");
        shown.field("claims", &self.claims).field("span", &self.span).finish_non_exhaustive()
    }
}

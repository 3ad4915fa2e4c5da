use std::{fmt, sync::Arc};

use super::template::{Template, client_setter, template_setters};
use crate::{AuthError, Token, TokenEndpoint, TokenFuture, TokenSource, Wanted, endpoint::Grant};

/// Tokens in return for a JSON Web Token (RFC 7523, section 2.1), as for service
/// accounts of Google.
///
/// That token comes from another source each time: [`SelfSigned`](crate::SelfSigned),
/// or a file that somebody else renews, [`FromFile`](crate::FromFile).
///
/// ```
/// # use std::{convert::Infallible, time::{Duration, SystemTime}};
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::Full;
/// # use palisade_auth::{AuthError, Moment, Wanted};
/// use palisade_auth::{Claims, JwtBearer, SelfSigned, TokenEndpoint, TokenSource};
/// # struct Key;
/// # impl palisade_auth::JwtSigner for Key {
/// #     fn algorithm(&self) -> &str { "none" }
/// #     fn sign(&self, _: &[u8]) -> Result<Vec<u8>, palisade_core::BoxError> { Ok(Vec::new()) }
/// # }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), AuthError> {
/// # let now = Moment::new(SystemTime::UNIX_EPOCH, Duration::ZERO);
/// # let client = tower::service_fn(|_: Request<Full<Bytes>>| async {
/// #     Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(r#"{"access_token":"t1"}"#)))
/// # });
/// # let key = Key;
/// let endpoint = TokenEndpoint::new("https://as.example/token", client);
/// let claims = Claims::new()
///     .issuer("robot@project.example")
///     .audience("https://as.example/token")
///     .claim("scope", "storage:read");
/// let source = JwtBearer::new(endpoint, SelfSigned::new(key, claims));
///
/// let token = source.fetch(Wanted::first(now)).await?;
/// assert_eq!(token.header(), "Bearer t1");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct JwtBearer {
    template: Template,
    assertion: Arc<dyn TokenSource>,
}

impl JwtBearer {
    /// Tokens of an endpoint, in return for those of a source.
    pub fn new(endpoint: TokenEndpoint, assertion: impl TokenSource) -> Self {
        Self { template: Template::new(endpoint), assertion: Arc::new(assertion) }
    }

    client_setter!();
    template_setters!();

    async fn exchange(&self, wanted: Wanted<'_>) -> Result<Token, AuthError> {
        let assertion = self.assertion.fetch(Wanted::first(wanted.now)).await?;
        let mut grant = Grant::new("urn:ietf:params:oauth:grant-type:jwt-bearer");
        grant.form.secret("assertion", assertion.secret().clone());
        self.template.ask(grant, wanted).await
    }
}

impl TokenSource for JwtBearer {
    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> TokenFuture<'a> {
        Box::pin(self.exchange(wanted))
    }
}

impl fmt::Debug for JwtBearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtBearer").field("template", &self.template).finish_non_exhaustive()
    }
}

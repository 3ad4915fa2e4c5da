use std::{fmt, sync::Arc};

use super::template::{Template, client_setter, template_setters};
use crate::{AuthError, Token, TokenEndpoint, TokenFuture, TokenSource, Wanted, endpoint::Grant};

/// Tokens in return for other tokens (RFC 8693): on behalf of a user, or of a
/// workload whose platform gives it a token.
///
/// The other token comes from another source each time, such as the file in which
/// Kubernetes puts it, [`FromFile`](crate::FromFile).
///
/// ```
/// # use std::{convert::Infallible, time::{Duration, SystemTime}};
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::Full;
/// # use palisade_auth::{AuthError, Moment, Wanted};
/// use palisade_auth::{FromFile, TokenEndpoint, TokenExchange, TokenSource};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), AuthError> {
/// # let now = Moment::new(SystemTime::UNIX_EPOCH, Duration::ZERO);
/// # let client = tower::service_fn(|_: Request<Full<Bytes>>| async {
/// #     Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(r#"{"access_token":"t1"}"#)))
/// # });
/// # let dir = std::env::temp_dir().join(format!("palisade-{}", std::process::id()));
/// # let path = dir.with_extension("token");
/// # std::fs::write(&path, "workload\n").unwrap();
/// // `path` is where the platform mounts it.
/// let endpoint = TokenEndpoint::new("https://sts.example/v1/token", client);
/// let source = TokenExchange::new(endpoint, FromFile::new(&path))
///     .subject_type(TokenExchange::JWT)
///     .audience("//iam.example/pools/1");
///
/// let token = source.fetch(Wanted::first(now)).await?;
/// assert_eq!(token.header(), "Bearer t1");
/// # std::fs::remove_file(path).unwrap();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct TokenExchange {
    template: Template,
    subject: Arc<dyn TokenSource>,
    subject_type: String,
    actor: Option<(Arc<dyn TokenSource>, String)>,
    requested_type: Option<String>,
}

impl TokenExchange {
    /// The type of tokens that an authorization server has given for access.
    pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
    /// The type of tokens of OpenID Connect that say who somebody is.
    pub const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
    /// The type of JSON Web Tokens of any kind.
    pub const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

    /// Tokens of an endpoint, in return for those of a source, which are for access.
    pub fn new(endpoint: TokenEndpoint, subject: impl TokenSource) -> Self {
        Self {
            template: Template::new(endpoint),
            subject: Arc::new(subject),
            subject_type: Self::ACCESS_TOKEN.to_owned(),
            actor: None,
            requested_type: None,
        }
    }

    /// Sets of which type the tokens of the source are. Defaults to
    /// [`ACCESS_TOKEN`](Self::ACCESS_TOKEN).
    pub fn subject_type(mut self, token_type: impl Into<String>) -> Self {
        self.subject_type = token_type.into();
        self
    }

    /// Sets who acts on behalf of the subject: a source of tokens, and their type.
    /// Defaults to nobody else.
    pub fn actor(mut self, actor: impl TokenSource, token_type: impl Into<String>) -> Self {
        self.actor = Some((Arc::new(actor), token_type.into()));
        self
    }

    /// Sets of which type the new tokens have to be. Defaults to what the server
    /// gives. One that is not for access is an error.
    pub fn requested_type(mut self, token_type: impl Into<String>) -> Self {
        self.requested_type = Some(token_type.into());
        self
    }

    client_setter!();
    template_setters!();

    async fn exchange(&self, wanted: Wanted<'_>) -> Result<Token, AuthError> {
        let first = Wanted::first(wanted.now);
        let mut grant = Grant::new("urn:ietf:params:oauth:grant-type:token-exchange");
        let subject = self.subject.fetch(first).await?;
        grant.form.secret("subject_token", subject.secret().clone());
        grant.form.plain("subject_token_type", &self.subject_type);
        if let Some((actor, token_type)) = &self.actor {
            let actor = actor.fetch(first).await?;
            grant.form.secret("actor_token", actor.secret().clone());
            grant.form.plain("actor_token_type", token_type);
        }
        if let Some(token_type) = &self.requested_type {
            grant.form.plain("requested_token_type", token_type);
        }
        self.template.ask(grant, wanted).await
    }
}

impl TokenSource for TokenExchange {
    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> TokenFuture<'a> {
        Box::pin(self.exchange(wanted))
    }
}

impl fmt::Debug for TokenExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("TokenExchange");
        shown.field("template", &self.template).field("subject_type", &self.subject_type);
        shown.finish_non_exhaustive()
    }
}

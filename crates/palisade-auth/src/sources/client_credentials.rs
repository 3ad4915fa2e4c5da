use super::template::{Template, template_setters};
use crate::{ClientAuth, TokenEndpoint, TokenFuture, TokenSource, Wanted, endpoint::Grant};

/// Tokens for a program by itself: the grant of client credentials (RFC 6749,
/// section 4.4).
///
/// ```
/// # use std::{convert::Infallible, time::{Duration, SystemTime}};
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::Full;
/// # use palisade_auth::{AuthError, Moment, Wanted};
/// use palisade_auth::{ClientAuth, ClientCredentials, TokenEndpoint, TokenSource};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), AuthError> {
/// # let now = Moment::new(SystemTime::UNIX_EPOCH, Duration::ZERO);
/// # let client = tower::service_fn(|request: Request<Full<Bytes>>| async move {
/// #     assert_eq!(request.headers()["authorization"], "Basic YmlsbGluZzpodW50ZXIy");
/// #     let answer = r#"{"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"Bearer","expires_in":3600}"#;
/// #     Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(answer)))
/// # });
/// // `client` is any tower HTTP service, as that of hyper-util.
/// let endpoint = TokenEndpoint::new("https://as.example/token", client);
/// let source = ClientCredentials::new(endpoint, ClientAuth::basic("billing", "hunter2"))
///     .scope("invoices:read invoices:write")
///     .resource("https://api.example");
///
/// let token = source.fetch(Wanted::first(now)).await?;
/// assert_eq!(token.header(), "Bearer 2YotnFZFEjr1zCsicMWpAA");
/// assert_eq!(token.lifetime(), Some(Duration::from_secs(3600)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientCredentials {
    template: Template,
}

impl ClientCredentials {
    /// Tokens of an endpoint, for a client.
    pub fn new(endpoint: TokenEndpoint, client: ClientAuth) -> Self {
        let mut template = Template::new(endpoint);
        template.client = Some(client);
        Self { template }
    }

    template_setters!();
}

impl TokenSource for ClientCredentials {
    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> TokenFuture<'a> {
        let grant = Grant { idempotent: true, ..Grant::new("client_credentials") };
        Box::pin(self.template.ask(grant, wanted))
    }
}

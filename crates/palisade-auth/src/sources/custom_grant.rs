use std::borrow::Cow;

use super::template::{Template, client_setter, template_setters};
use crate::{TokenEndpoint, TokenFuture, TokenSource, Wanted, endpoint::Grant};

/// Tokens by a grant that is not here: an extension (RFC 6749, section 4.5), or one
/// of a server of its own.
///
/// Its requests count as such that must not be sent twice.
#[derive(Clone, Debug)]
#[must_use]
pub struct CustomGrant {
    template: Template,
    grant_type: Cow<'static, str>,
    idempotent: bool,
}

impl CustomGrant {
    /// Tokens of an endpoint, by a grant of this type. What else the grant needs is
    /// added by [`param`](Self::param).
    pub fn new(endpoint: TokenEndpoint, grant_type: impl Into<Cow<'static, str>>) -> Self {
        let template = Template::new(endpoint);
        Self { template, grant_type: grant_type.into(), idempotent: false }
    }

    /// Says that a request may be sent twice: nothing in it is good for one use.
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    client_setter!();
    template_setters!();
}

impl TokenSource for CustomGrant {
    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> TokenFuture<'a> {
        let idempotent = self.idempotent;
        let grant = Grant { idempotent, ..Grant::new(self.grant_type.clone()) };
        Box::pin(self.template.ask(grant, wanted))
    }
}

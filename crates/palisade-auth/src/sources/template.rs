use std::borrow::Cow;

use crate::{
    AuthError, ClientAuth, Secret, Token, TokenEndpoint, Wanted,
    endpoint::{Form, Grant},
};

/// What all grants ask for in the same way.
#[derive(Clone, Debug)]
pub(super) struct Template {
    endpoint: TokenEndpoint,
    pub(super) client: Option<ClientAuth>,
    pub(super) scope: Option<String>,
    extra: Form,
}

impl Template {
    pub(super) fn new(endpoint: TokenEndpoint) -> Self {
        Self { endpoint, client: None, scope: None, extra: Form::default() }
    }

    pub(super) fn plain(&mut self, name: &'static str, value: impl Into<String>) {
        self.extra.plain(name, value);
    }

    pub(super) fn secret(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Secret>) {
        self.extra.secret(name, value);
    }

    /// Asks for a token by a grant, to which it adds what is asked for.
    pub(super) async fn ask(
        &self,
        mut grant: Grant,
        wanted: Wanted<'_>,
    ) -> Result<Token, AuthError> {
        if let Some(scope) = wanted.scope.or(self.scope.as_deref()) {
            grant.form.plain("scope", scope);
        }
        grant.form.extend(&self.extra);
        self.endpoint.ask(grant, self.client.as_ref(), wanted.now).await
    }
}

/// The setters of all grants.
macro_rules! template_setters {
    () => {
        /// Sets what tokens have to be good for, with a space between two scopes.
        /// Defaults to what the server gives. What a request asks for goes first.
        pub fn scope(mut self, scope: impl Into<String>) -> Self {
            self.template.scope = Some(scope.into());
            self
        }

        /// Adds an API that tokens are for, by its address (RFC 8707). Defaults to
        /// none.
        pub fn resource(mut self, resource: impl Into<String>) -> Self {
            self.template.plain("resource", resource);
            self
        }

        /// Adds an API that tokens are for, by its name (RFC 8693, and what other
        /// servers made of it). Defaults to none.
        pub fn audience(mut self, audience: impl Into<String>) -> Self {
            self.template.plain("audience", audience);
            self
        }

        /// Adds a parameter of which only this server knows. Defaults to none.
        /// Nothing shows its value.
        pub fn param(
            mut self,
            name: impl Into<std::borrow::Cow<'static, str>>,
            value: impl Into<crate::Secret>,
        ) -> Self {
            self.template.secret(name, value);
            self
        }
    };
}

/// The setter of grants for which a client need not show who it is.
macro_rules! client_setter {
    () => {
        /// Sets how the client shows who it is. Defaults to not at all.
        pub fn client(mut self, client: crate::ClientAuth) -> Self {
            self.template.client = Some(client);
            self
        }
    };
}

pub(super) use {client_setter, template_setters};

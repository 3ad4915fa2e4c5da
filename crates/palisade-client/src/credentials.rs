use std::any::Any;

use palisade_auth::{
    ApiKey, Authenticator, Basic, Bearer, Credentials, Token, Tokens, TokensByKey,
};

use crate::{
    keep::KeepBody,
    stack::{AuthLayer, Slot},
};

impl Slot<AuthLayer> {
    /// Authenticators of palisade-auth become one type, which the stack knows; any other
    /// is a layer of the user's.
    pub(crate) fn auth<A: Authenticator>(layer: palisade_auth::AuthLayer<A, KeepBody>) -> Self {
        match known(layer.authenticator()) {
            Some(credentials) => Self::On(layer.with_authenticator(credentials)),
            None => Self::of(layer),
        }
    }
}

fn known(authenticator: &dyn Any) -> Option<Credentials> {
    fn of<A: Clone + Into<Credentials> + 'static>(authenticator: &dyn Any) -> Option<Credentials> {
        authenticator.downcast_ref::<A>().cloned().map(Into::into)
    }
    let known = [
        of::<Credentials>,
        of::<Bearer>,
        of::<Token>,
        of::<Basic>,
        of::<ApiKey>,
        of::<Tokens>,
        of::<TokensByKey>,
    ];
    known.into_iter().find_map(|known| known(authenticator))
}

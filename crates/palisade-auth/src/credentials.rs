use http::{Request, Response};

use crate::{
    ApiKey, Applied, Authenticator, Basic, Bearer, Refused, Stamp, Token, Tokens, TokensByKey, Wait,
};

/// Any of the authenticators of this crate, as one type: where it is known only
/// when the program runs which one it is.
///
/// ```
/// use palisade_auth::{AuthLayer, Basic, Bearer, Credentials};
/// use palisade_core::Origins;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (user, secret) = (Some("aladdin"), "0pensesame");
/// // As a configuration has it.
/// let credentials = match user {
///     Some(user) => Credentials::from(Basic::new(user, secret)?),
///     None => Bearer::new(secret)?.into(),
/// };
/// let layer = AuthLayer::new(credentials, Origins::new(["https://api.example"]));
/// # let _ = layer;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Credentials {
    /// A bearer token that does not change.
    Bearer(Bearer),
    /// A token that does not change, of whatever kind.
    Token(Token),
    /// A user name and a password.
    Basic(Basic),
    /// A key in a header field, in the query or in a cookie.
    ApiKey(ApiKey),
    /// A token that is kept fresh.
    Tokens(Tokens),
    /// A token for each tenant and scope, kept fresh.
    TokensByKey(TokensByKey),
}

impl Authenticator for Credentials {
    type Wait = Wait;

    #[inline]
    fn has_own<B>(&self, request: &Request<B>) -> bool {
        match self {
            Self::Bearer(bearer) => bearer.has_own(request),
            Self::Token(token) => token.has_own(request),
            Self::Basic(basic) => basic.has_own(request),
            Self::ApiKey(key) => key.has_own(request),
            Self::Tokens(tokens) => tokens.has_own(request),
            Self::TokensByKey(tokens) => tokens.has_own(request),
        }
    }

    #[inline]
    fn may_change(&self) -> bool {
        match self {
            Self::Bearer(bearer) => bearer.may_change(),
            Self::Token(token) => token.may_change(),
            Self::Basic(basic) => basic.may_change(),
            Self::ApiKey(key) => key.may_change(),
            Self::Tokens(tokens) => tokens.may_change(),
            Self::TokensByKey(tokens) => tokens.may_change(),
        }
    }

    #[inline]
    fn apply<B>(&self, request: &mut Request<B>) -> Applied<Wait> {
        match self {
            Self::Bearer(bearer) => bearer.put_on(request),
            Self::Token(token) => token.put_on(request),
            Self::Basic(basic) => basic.put_on(request),
            Self::ApiKey(key) => key.put_on(request),
            Self::Tokens(tokens) => tokens.apply(request),
            Self::TokensByKey(tokens) => tokens.apply(request),
        }
    }

    fn refused<B>(&self, stamp: Stamp, response: &Response<B>) -> Refused<Wait> {
        match self {
            Self::Bearer(_) | Self::Token(_) | Self::Basic(_) | Self::ApiKey(_) => Refused::Final,
            Self::Tokens(tokens) => tokens.refused(stamp, response),
            Self::TokensByKey(tokens) => tokens.refused(stamp, response),
        }
    }
}

impl From<Bearer> for Credentials {
    fn from(bearer: Bearer) -> Self {
        Self::Bearer(bearer)
    }
}

impl From<Token> for Credentials {
    fn from(token: Token) -> Self {
        Self::Token(token)
    }
}

impl From<Basic> for Credentials {
    fn from(basic: Basic) -> Self {
        Self::Basic(basic)
    }
}

impl From<ApiKey> for Credentials {
    fn from(key: ApiKey) -> Self {
        Self::ApiKey(key)
    }
}

impl From<Tokens> for Credentials {
    fn from(tokens: Tokens) -> Self {
        Self::Tokens(tokens)
    }
}

impl From<TokensByKey> for Credentials {
    fn from(tokens: TokensByKey) -> Self {
        Self::TokensByKey(tokens)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;
    use crate::{AuthError, Recovery, token_fn};

    fn applied(authenticator: &impl Authenticator) -> HeaderMap {
        let mut request = Request::new(());
        assert!(matches!(authenticator.apply(&mut request), Applied::Done(_)));
        request.headers().clone()
    }

    fn check<A: Authenticator + Into<Credentials>>(authenticator: &A) {
        let credentials = authenticator.clone().into();
        let field = HeaderName::from_static("x-key");
        let mut keyed = Request::new(());
        keyed.headers_mut().insert(&field, HeaderValue::from_static("its own"));
        assert_eq!(applied(&credentials), applied(authenticator), "{credentials:?}");
        assert_eq!(credentials.may_change(), authenticator.may_change(), "{credentials:?}");
        assert_eq!(credentials.has_own(&keyed), authenticator.has_own(&keyed), "{credentials:?}");
    }

    #[test]
    fn do_as_that_which_they_are_made_of() {
        let token = || Token::bearer("abc").unwrap();
        check(&Bearer::new("abc").unwrap());
        check(&token());
        check(&Basic::new("user", "abc").unwrap());
        check(&ApiKey::header(HeaderName::from_static("x-key"), "abc").unwrap());
        check(&ApiKey::cookie("key", "abc").unwrap());
        let none = || AuthError::new("there is no other", Recovery::Fatal);
        let tokens = Tokens::new(token_fn(move |_| async move { Err(none()) }));
        tokens.prime(token()).unwrap();
        check(&tokens);
    }
}

use std::{fmt, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, header::AUTHORIZATION};
use zeroize::Zeroizing;

use crate::{
    AuthError, Claims, JwtSigner, Recovery, Secret, TokenRequest,
    jwt::{self, BACKDATE, Span},
};

/// How a client shows a token endpoint who it is: RFC 6749, section 2.3, and
/// RFC 7523, section 2.2.
///
/// It is asked once for each token, so what it holds is boxed, and it has no type
/// parameter that all grants would have as well.
#[derive(Clone)]
#[must_use]
pub struct ClientAuth {
    method: Method,
}

#[derive(Clone)]
enum Method {
    None { id: String },
    Basic { id: String, secret: Secret, raw: bool },
    Post { id: String, secret: Secret },
    Assertion { id: String, signer: Arc<dyn JwtSigner>, audience: Option<String> },
    Custom(Arc<Custom>),
}

type Custom = dyn Fn(&mut TokenRequest) -> Result<(), AuthError> + Send + Sync;

impl ClientAuth {
    /// A client that has no secret, and only says its name.
    pub fn none(id: impl Into<String>) -> Self {
        Self { method: Method::None { id: id.into() } }
    }

    /// Name and secret in the field `Authorization` (`client_secret_basic`): what
    /// every server has to know.
    pub fn basic(id: impl Into<String>, secret: impl Into<Secret>) -> Self {
        let (id, secret) = (id.into(), secret.into());
        Self { method: Method::Basic { id, secret, raw: false } }
    }

    /// Name and secret in the form (`client_secret_post`), for servers that know
    /// nothing else.
    pub fn post(id: impl Into<String>, secret: impl Into<Secret>) -> Self {
        Self { method: Method::Post { id: id.into(), secret: secret.into() } }
    }

    /// A token that is signed with the secret (`client_secret_jwt`, by HS256): the
    /// secret itself is not sent.
    #[cfg(feature = "jwt")]
    #[cfg_attr(palisade_docsrs, doc(cfg(feature = "jwt")))]
    pub fn secret_jwt(id: impl Into<String>, secret: impl Into<Secret>) -> Self {
        let secret: Secret = secret.into();
        Self::private_key_jwt(id, crate::JwtKey::hs256(secret.expose().as_bytes()))
    }

    /// A token that is signed with a key (`private_key_jwt`), of which the server
    /// has the public half. It is good for a minute and for one use.
    ///
    /// So a layer of retries below the endpoint should send such a request again only
    /// if it surely was not processed: a server refuses a token that it has seen.
    pub fn private_key_jwt(id: impl Into<String>, signer: impl JwtSigner) -> Self {
        let signer = Arc::new(signer);
        Self { method: Method::Assertion { id: id.into(), signer, audience: None } }
    }

    /// Whatever a function adds to the request, which counts as one that must not be
    /// sent twice.
    ///
    /// ```
    /// use palisade_auth::{ClientAuth, Secret};
    ///
    /// // A token that the platform keeps in a file, in place of a signed one.
    /// let client = ClientAuth::custom(|request| {
    ///     let token = Secret::from_file("/var/run/secrets/token")?;
    ///     request.param("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    ///     request.param("client_assertion", token);
    ///     Ok(())
    /// });
    /// assert_eq!(format!("{client:?}"), "ClientAuth { method: \"custom\", .. }");
    /// ```
    pub fn custom<F>(apply: F) -> Self
    where
        F: Fn(&mut TokenRequest) -> Result<(), AuthError> + Send + Sync + 'static,
    {
        Self { method: Method::Custom(Arc::new(apply)) }
    }

    /// Sends name and secret of [`basic`](Self::basic) as they are. Defaults to
    /// encoding them as in a form first, as RFC 6749 wants it, and as some servers
    /// do not decode. It changes nothing but for those with other letters than
    /// `A-Z`, `a-z`, `0-9`, `-`, `.` and `_`.
    pub fn raw(mut self) -> Self {
        if let Method::Basic { raw, .. } = &mut self.method {
            *raw = true;
        }
        self
    }

    /// Sets whom a signed token is for (`aud`), such as the issuer. Defaults to the
    /// address of the token endpoint. Others than those that sign have no use for it.
    pub fn audience(mut self, new: impl Into<String>) -> Self {
        if let Method::Assertion { audience, .. } = &mut self.method {
            *audience = Some(new.into());
        }
        self
    }

    pub(crate) fn apply(&self, request: &mut TokenRequest) -> Result<(), AuthError> {
        match &self.method {
            Method::None { id } => request.form().plain("client_id", id),
            Method::Basic { id, secret, raw } => {
                let value = basic(id, secret, *raw)?;
                request.form().hide(secret.clone());
                request.headers_mut().insert(AUTHORIZATION, value);
            }
            Method::Post { id, secret } => {
                request.form().plain("client_id", id);
                request.form().secret("client_secret", secret.clone());
            }
            Method::Assertion { id, signer, audience } => {
                let audience = audience.clone().unwrap_or_else(|| request.uri().to_string());
                let claims = Claims::new().issuer(id).subject(id).audience(audience);
                let token = jwt::make(&**signer, &claims, ASSERTION, request.now())?;
                request.form().plain("client_id", id);
                request.form().plain("client_assertion_type", JWT_BEARER);
                request.form().secret("client_assertion", token);
                request.only_once();
            }
            Method::Custom(apply) => {
                request.only_once();
                apply(request)?;
            }
        }
        Ok(())
    }
}

const ASSERTION: Span =
    Span { backdate: BACKDATE, lifetime: Duration::from_secs(60 + BACKDATE.as_secs()) };

/// RFC 7523, section 2.2.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn basic(id: &str, secret: &Secret, raw: bool) -> Result<HeaderValue, AuthError> {
    let pair = Zeroizing::new(match raw {
        true => format!("{id}:{}", secret.expose()),
        false => format!("{}:{}", *encoded(id), *encoded(secret.expose())),
    });
    let value =
        Zeroizing::new(format!("Basic {}", *Zeroizing::new(BASE64_STANDARD.encode(&*pair))));
    let invalid = |_| AuthError::new("the client secret cannot be sent", Recovery::FixRequest);
    let mut value = HeaderValue::from_str(&value).map_err(invalid)?;
    value.set_sensitive(true);
    Ok(value)
}

/// RFC 6749, section 2.3.1 and appendix B, with `%20` for a space: each server
/// decodes that, but not `+`.
fn encoded(text: &str) -> Zeroizing<String> {
    let encoded = form_urlencoded::byte_serialize(text.as_bytes());
    Zeroizing::new(encoded.map(|part| if part == "+" { "%20" } else { part }).collect())
}

impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (method, id) = match &self.method {
            Method::None { id } => ("none", id),
            Method::Basic { id, .. } => ("basic", id),
            Method::Post { id, .. } => ("post", id),
            Method::Assertion { id, .. } => ("assertion", id),
            Method::Custom(_) => return f.write_str("ClientAuth { method: \"custom\", .. }"),
        };
        let mut shown = f.debug_struct("ClientAuth");
        shown.field("method", &method).field("id", id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_secret_are_encoded() {
        for (id, secret, raw, pair) in [
            ("id", "secret", false, "id:secret"),
            ("cc:odd id", "p%+ :/?&=s", false, "cc%3Aodd%20id:p%25%2B%20%3A%2F%3F%26%3Ds"),
            ("cc:odd id", "p%+ :/?&=s", true, "cc:odd id:p%+ :/?&=s"),
            ("caf\u{e9}", "a-b_c.d*e~", false, "caf%C3%A9:a-b_c.d*e%7E"),
            ("caf\u{e9}", "", true, "caf\u{e9}:"),
        ] {
            let value = basic(id, &Secret::new(secret), raw).unwrap();
            assert!(value.is_sensitive());
            let text = value.to_str().unwrap().strip_prefix("Basic ").unwrap();
            assert_eq!(String::from_utf8(BASE64_STANDARD.decode(text).unwrap()).unwrap(), pair);
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        for client in [
            ClientAuth::basic("id", "canary"),
            ClientAuth::post("id", "canary"),
            ClientAuth::private_key_jwt("id", jwt::tests::Lengths),
            ClientAuth::custom(|_| Ok(())),
        ] {
            assert!(!format!("{client:?} {client:#?}").contains("canary"));
        }
    }
}

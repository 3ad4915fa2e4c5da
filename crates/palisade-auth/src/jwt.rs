//! JSON Web Tokens that are made here: RFC 7515, RFC 7519.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use palisade_core::BoxError;
use serde_json::{Map, Value, json};

use crate::{AuthError, Moment, Recovery, Secret};

/// Signs JSON Web Tokens: a key in memory, an agent, a module of hardware.
///
/// `JwtKey` is one, by the feature `jwt`.
pub trait JwtSigner: Send + Sync + 'static {
    /// The name of the algorithm, such as `ES256` (RFC 7518, section 3.1).
    fn algorithm(&self) -> &str;

    /// The name of the key, by which the other side finds it. Defaults to none.
    fn key_id(&self) -> Option<&str> {
        None
    }

    /// Signs a message: what comes back is the signature, not encoded.
    ///
    /// # Errors
    ///
    /// If it cannot.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, BoxError>;
}

impl<S: JwtSigner + ?Sized> JwtSigner for Arc<S> {
    fn algorithm(&self) -> &str {
        (**self).algorithm()
    }

    fn key_id(&self) -> Option<&str> {
        (**self).key_id()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, BoxError> {
        (**self).sign(message)
    }
}

/// What a token says: the claims that stay the same.
///
/// Times and `jti` are added each time, unless they are claimed here.
#[derive(Clone, Default, PartialEq)]
#[must_use]
pub struct Claims {
    members: Map<String, Value>,
}

impl Claims {
    /// No claims.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets who has made the token (`iss`). Defaults to none.
    pub fn issuer(self, issuer: impl Into<String>) -> Self {
        self.claim("iss", issuer)
    }

    /// Sets whom it is about (`sub`). Defaults to none.
    pub fn subject(self, subject: impl Into<String>) -> Self {
        self.claim("sub", subject)
    }

    /// Sets whom it is for (`aud`). Defaults to none.
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.claim("aud", audience)
    }

    /// Sets a claim that is a text. Defaults to none.
    pub fn claim(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.members.insert(name.into(), Value::String(text.into()));
        self
    }

    /// Sets a claim that is written in JSON. Defaults to none.
    ///
    /// # Panics
    ///
    /// If it is no JSON.
    #[track_caller]
    pub fn claim_json(mut self, name: impl Into<String>, json: &str) -> Self {
        let value = serde_json::from_str(json);
        self.members.insert(name.into(), value.expect("the claim has to be JSON"));
        self
    }
}

/// Claims may be about persons: their values are not shown.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claims ")?;
        f.debug_set().entries(self.members.keys()).finish()
    }
}

/// When a token begins and ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// How long before it is made: the clock of the other side may be behind.
    pub(crate) backdate: Duration,
    /// From its beginning to its end, as others cap it.
    pub(crate) lifetime: Duration,
}

pub(crate) const BACKDATE: Duration = Duration::from_secs(10);

impl Span {
    /// How long it lives from the moment on at which it is made.
    pub(crate) fn left(self) -> Duration {
        self.lifetime.saturating_sub(self.backdate)
    }
}

/// Makes a token that has never been before.
pub(crate) fn make(
    signer: &dyn JwtSigner,
    claims: &Claims,
    span: Span,
    now: Moment,
) -> Result<Secret, AuthError> {
    let mut header = Map::from_iter([
        ("alg".to_owned(), json!(signer.algorithm())),
        ("typ".to_owned(), json!("JWT")),
    ]);
    if let Some(key_id) = signer.key_id() {
        header.insert("kid".to_owned(), json!(key_id));
    }
    let since = now.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    let issued = since.saturating_sub(span.backdate).as_secs();
    let mut body = Map::from_iter([
        ("iat".to_owned(), json!(issued)),
        ("exp".to_owned(), json!(issued.saturating_add(span.lifetime.as_secs()))),
        ("jti".to_owned(), json!(uuid::Uuid::new_v4().to_string())),
    ]);
    body.extend(claims.members.clone());

    let part = |part| BASE64_URL_SAFE_NO_PAD.encode(Value::Object(part).to_string());
    let mut token = format!("{}.{}", part(header), part(body));
    let signature = signer.sign(token.as_bytes()).map_err(|error| {
        AuthError::new("a token was not signed", Recovery::Fatal).with_source(error)
    })?;
    token.push('.');
    BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(Secret::new(token))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Signs with the length of the message.
    #[derive(Debug)]
    pub(crate) struct Lengths;

    impl JwtSigner for Lengths {
        fn algorithm(&self) -> &str {
            "LEN"
        }

        fn key_id(&self) -> Option<&str> {
            Some("key 1")
        }

        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, BoxError> {
            Ok(message.len().to_string().into_bytes())
        }
    }

    pub(crate) fn decode(part: &str) -> Value {
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    const SPAN: Span = Span { backdate: BACKDATE, lifetime: Duration::from_secs(60) };

    fn now() -> Moment {
        Moment::new(UNIX_EPOCH + Duration::from_millis(1_000_500), Duration::ZERO)
    }

    #[test]
    fn a_token_says_what_is_claimed_and_when() {
        let claims = Claims::new()
            .issuer("me")
            .subject("you")
            .audience("them")
            .claim_json("n", r#"{"a":[1]}"#);
        let token = make(&Lengths, &claims, SPAN, now()).unwrap();
        let parts: Vec<_> = token.expose().split('.').collect();
        assert_eq!(decode(parts[0]), json!({ "alg": "LEN", "typ": "JWT", "kid": "key 1" }));
        let mut body = decode(parts[1]);
        assert!(body["jti"].take().as_str().is_some_and(|jti| jti.len() == 36));
        let (iat, exp) = (990, 1050);
        let expected = json!({
            "iss": "me", "sub": "you", "aud": "them", "n": { "a": [1] },
            "iat": iat, "exp": exp, "jti": null,
        });
        assert_eq!(body, expected);
        let signed = parts[0].len() + 1 + parts[1].len();
        assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(parts[2]).unwrap(), signed.to_string().as_bytes());
        assert_eq!(SPAN.left(), Duration::from_secs(50));
    }

    #[test]
    fn what_is_claimed_counts() {
        let claims = Claims::new().claim("jti", "mine").claim_json("exp", "7");
        let token = make(&Lengths, &claims, SPAN, now()).unwrap();
        let body = decode(token.expose().split('.').nth(1).unwrap());
        assert_eq!((&body["jti"], &body["exp"]), (&json!("mine"), &json!(7)));
    }

    #[test]
    fn no_token_is_made_twice() {
        let make = || make(&Lengths, &Claims::new(), SPAN, now()).unwrap().expose().to_owned();
        let made: HashSet<_> = std::iter::repeat_with(make).take(10_000).collect();
        assert_eq!(made.len(), 10_000);
    }

    #[test]
    fn values_are_not_shown() {
        let claims = Claims::new().issuer("canary");
        assert_eq!(format!("{claims:?}"), r#"Claims {"iss"}"#);
    }

    #[test]
    #[should_panic(expected = "the claim has to be JSON")]
    fn nonsense_panics() {
        let _ = Claims::new().claim_json("a", "{");
    }
}

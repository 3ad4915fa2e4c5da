use std::{error::Error, fmt};

use jsonwebtoken::{Algorithm, EncodingKey, crypto::aws_lc};
use palisade_core::BoxError;

use crate::JwtSigner;

/// A key in memory that signs JSON Web Tokens, over [`jsonwebtoken`] and aws-lc.
///
/// Which back end of `jsonwebtoken` the rest of a program has chosen does not matter
/// here.
///
/// ```
/// use palisade_auth::{JwtKey, JwtSigner};
///
/// # let pem = include_bytes!("../tests/keys/p256.pem");
/// // `pem` begins with `-----BEGIN PRIVATE KEY-----`.
/// let key = JwtKey::es256(pem)?.key_id("2027-01");
/// assert_eq!((key.algorithm(), JwtSigner::key_id(&key)), ("ES256", Some("2027-01")));
/// # Ok::<_, palisade_auth::InvalidKey>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct JwtKey {
    algorithm: Algorithm,
    key: EncodingKey,
    key_id: Option<String>,
}

impl JwtKey {
    /// A secret that both sides know (HS256). It should have at least 32 bytes.
    pub fn hs256(secret: &[u8]) -> Self {
        let key = EncodingKey::from_secret(secret);
        Self { algorithm: Algorithm::HS256, key, key_id: None }
    }

    /// A private RSA key in PEM: PKCS #8, or PKCS #1 (RS256).
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn rs256(pem: &[u8]) -> Result<Self, InvalidKey> {
        Self::checked(Algorithm::RS256, EncodingKey::from_rsa_pem(pem))
    }

    /// A private key on the curve P-256 in PEM, in PKCS #8 (ES256).
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn es256(pem: &[u8]) -> Result<Self, InvalidKey> {
        Self::checked(Algorithm::ES256, EncodingKey::from_ec_pem(pem))
    }

    /// A private Ed25519 key in PEM, in PKCS #8 (EdDSA).
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn ed25519(pem: &[u8]) -> Result<Self, InvalidKey> {
        Self::checked(Algorithm::EdDSA, EncodingKey::from_ed_pem(pem))
    }

    /// Sets the name of the key, by which the other side finds it. Defaults to none.
    pub fn key_id(mut self, key_id: impl Into<String>) -> Self {
        self.key_id = Some(key_id.into());
        self
    }

    fn checked(
        algorithm: Algorithm,
        key: Result<EncodingKey, jsonwebtoken::errors::Error>,
    ) -> Result<Self, InvalidKey> {
        let key = key.map_err(|_| InvalidKey(algorithm))?;
        let key = Self { algorithm, key, key_id: None };
        // Only now does it show whether there is a key of this kind in the PEM.
        key.sign(b"").map_err(|_| InvalidKey(algorithm))?;
        Ok(key)
    }
}

impl JwtSigner for JwtKey {
    fn algorithm(&self) -> &str {
        match self.algorithm {
            Algorithm::HS256 => "HS256",
            Algorithm::RS256 => "RS256",
            Algorithm::ES256 => "ES256",
            _ => "EdDSA",
        }
    }

    fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, BoxError> {
        // Not by the default of the process: that panics if there are two back ends.
        let signer = (aws_lc::DEFAULT_PROVIDER.signer_factory)(&self.algorithm, &self.key)?;
        Ok(signer.try_sign(message)?)
    }
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("JwtKey");
        shown.field("algorithm", &self.algorithm).field("key_id", &self.key_id);
        shown.finish_non_exhaustive()
    }
}

/// A text that is no private key of the kind. It is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidKey(Algorithm);

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "what was given is no private key for {:?} in PEM", self.0)
    }
}

impl Error for InvalidKey {}

#[cfg(test)]
mod tests {
    use jsonwebtoken::DecodingKey;

    use super::*;

    // Made for these tests, and of use for nothing else.
    const RSA: &[u8] = include_bytes!("../tests/keys/rsa.pem");
    const RSA_PKCS1: &[u8] = include_bytes!("../tests/keys/rsa-pkcs1.pem");
    const RSA_PUBLIC: &[u8] = include_bytes!("../tests/keys/rsa.pub.pem");
    const P256: &[u8] = include_bytes!("../tests/keys/p256.pem");
    const P256_PUBLIC: &[u8] = include_bytes!("../tests/keys/p256.pub.pem");
    const ED25519: &[u8] = include_bytes!("../tests/keys/ed25519.pem");
    const ED25519_PUBLIC: &[u8] = include_bytes!("../tests/keys/ed25519.pub.pem");

    fn verified(key: &JwtKey, public: &DecodingKey, message: &[u8]) -> bool {
        let signature = key.sign(b"message").unwrap();
        let verifier = (aws_lc::DEFAULT_PROVIDER.verifier_factory)(&key.algorithm, public).unwrap();
        verifier.verify(message, &signature).is_ok()
    }

    #[test]
    fn the_other_half_of_a_key_verifies() {
        for (key, public, name) in [
            (JwtKey::hs256(b"secret"), DecodingKey::from_secret(b"secret"), "HS256"),
            (JwtKey::rs256(RSA).unwrap(), DecodingKey::from_rsa_pem(RSA_PUBLIC).unwrap(), "RS256"),
            (
                JwtKey::rs256(RSA_PKCS1).unwrap(),
                DecodingKey::from_rsa_pem(RSA_PUBLIC).unwrap(),
                "RS256",
            ),
            (JwtKey::es256(P256).unwrap(), DecodingKey::from_ec_pem(P256_PUBLIC).unwrap(), "ES256"),
            (
                JwtKey::ed25519(ED25519).unwrap(),
                DecodingKey::from_ed_pem(ED25519_PUBLIC).unwrap(),
                "EdDSA",
            ),
        ] {
            assert_eq!(key.algorithm(), name);
            assert!(verified(&key, &public, b"message"), "{name}");
            assert!(!verified(&key, &public, b"another"), "{name}");
        }
    }

    #[test]
    fn a_signature_is_that_of_the_specification() {
        use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

        // RFC 7515, appendix A.1.
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let key = JwtKey::hs256(&BASE64_URL_SAFE_NO_PAD.decode(key).unwrap());
        let message = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQog\
                       Imh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature = BASE64_URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()).unwrap());
        assert_eq!(signature, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let read = [JwtKey::rs256, JwtKey::es256, JwtKey::ed25519];
        for text in [&b""[..], b"junk", RSA_PUBLIC, P256_PUBLIC, ED25519_PUBLIC] {
            assert!(read.iter().all(|read| read(text).is_err()));
        }
        assert!(JwtKey::rs256(P256).is_err() && JwtKey::rs256(ED25519).is_err());
        assert!(JwtKey::es256(RSA).is_err() && JwtKey::es256(ED25519).is_err());
        assert!(JwtKey::ed25519(RSA).is_err() && JwtKey::ed25519(P256).is_err());
        let error = JwtKey::es256(b"canary").unwrap_err();
        assert_eq!(error.to_string(), "what was given is no private key for ES256 in PEM");
    }

    #[test]
    fn a_key_is_not_shown() {
        let key = JwtKey::hs256(b"canary").key_id("1");
        assert_eq!(format!("{key:?}"), r#"JwtKey { algorithm: HS256, key_id: Some("1"), .. }"#);
    }
}

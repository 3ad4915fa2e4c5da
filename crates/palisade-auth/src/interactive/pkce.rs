use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::Secret;

/// A text that nobody guesses: the bits of three random UUIDs, 366 of them, in 96
/// letters. RFC 7636, section 4.1, wants 256 in 43 to 128.
pub(super) fn random() -> Secret {
    let parts = std::iter::repeat_with(|| uuid::Uuid::new_v4().simple().to_string());
    Secret::new(parts.take(3).collect::<String>())
}

/// What the server is told of a verifier by the method S256: RFC 7636, section 4.2.
pub(super) fn challenge(verifier: &Secret) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose()))
}

/// Whether two texts are the same, in a time that says nothing of how much of them is.
pub(super) fn same(one: &str, other: &str) -> bool {
    Sha256::digest(one) == Sha256::digest(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_that_of_the_rfc() {
        // RFC 7636, appendix B.
        let verifier = Secret::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(challenge(&verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn no_verifier_is_like_another() {
        let (one, other) = (random(), random());
        assert_ne!(one, other);
        assert!(!same(one.expose(), other.expose()) && same(one.expose(), one.expose()));
        assert!((43..=128).contains(&one.expose().len()));
        assert!(one.expose().bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }
}

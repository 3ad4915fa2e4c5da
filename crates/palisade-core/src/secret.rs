use http::HeaderName;

/// Whether the values of fields of this name are secret: credentials, and whatever else is
/// for one server alone.
///
/// They are those whose names end in `authorization`, `cookie`, `key`, `token` or `secret`,
/// as APIs have names of their own for what tells users apart, but for idempotency keys,
/// which do not. What it misses is marked by
/// [`set_sensitive`](http::HeaderValue::set_sensitive).
///
/// ```
/// use http::{HeaderName, header};
/// use palisade_core::is_secret;
///
/// assert!(is_secret(&header::AUTHORIZATION));
/// assert!(is_secret(&HeaderName::from_static("private-token")));
/// assert!(!is_secret(&header::ACCEPT));
/// assert!(!is_secret(&HeaderName::from_static("idempotency-key")));
/// ```
pub fn is_secret(name: &HeaderName) -> bool {
    const ENDS: [&str; 5] = ["authorization", "cookie", "key", "token", "secret"];
    let name = name.as_str();
    ENDS.iter().any(|end| name.ends_with(end)) && !name.ends_with("idempotency-key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_by_how_a_name_ends() {
        for (name, secret) in [
            ("authorization", true),
            ("proxy-authorization", true),
            ("cookie", true),
            ("set-cookie", true),
            ("api-key", true),
            ("x-api-key", true),
            ("apikey", true),
            ("x-goog-api-key", true),
            ("ocp-apim-subscription-key", true),
            ("private-token", true),
            ("x-auth-token", true),
            ("x-amz-security-token", true),
            ("x-client-secret", true),
            ("X-Api-Key", true),
            ("idempotency-key", false),
            ("x-idempotency-key", false),
            ("www-authenticate", false),
            ("access-control-allow-credentials", false),
            ("token-type", false),
            ("x-tenant", false),
            ("accept", false),
        ] {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            assert_eq!(is_secret(&name), secret, "{name}");
        }
    }
}

use http::Method;

/// Whether a request with this method asks for no change on the server.
///
/// RFC 9110, section 9.2.1, and the IANA registry of HTTP methods, which knows
/// more of them than [`Method::is_safe`]: `PROPFIND`, `REPORT`, `SEARCH`.
///
/// ```
/// use http::Method;
/// use palisade_core::is_safe;
///
/// assert!(is_safe(&Method::GET));
/// assert!(is_safe(&Method::from_bytes(b"PROPFIND")?));
/// assert!(!is_safe(&Method::DELETE));
/// # Ok::<_, http::method::InvalidMethod>(())
/// ```
pub fn is_safe(method: &Method) -> bool {
    method.is_safe()
        || matches!(method.as_str(), "PRI" | "PROPFIND" | "QUERY" | "REPORT" | "SEARCH")
}

/// Whether several identical requests with this method have the effect of one.
///
/// RFC 9110, section 9.2.2, and the IANA registry of HTTP methods, which knows
/// more of them than [`Method::is_idempotent`].
///
/// ```
/// use http::Method;
/// use palisade_core::is_idempotent;
///
/// assert!(is_idempotent(&Method::PUT));
/// assert!(is_idempotent(&Method::from_bytes(b"MKCOL")?));
/// assert!(!is_idempotent(&Method::POST));
/// assert!(!is_idempotent(&Method::PATCH));
/// # Ok::<_, http::method::InvalidMethod>(())
/// ```
pub fn is_idempotent(method: &Method) -> bool {
    match *method {
        Method::GET | Method::HEAD | Method::PUT | Method::DELETE => true,
        Method::POST | Method::PATCH | Method::CONNECT => false,
        _ => {
            method.is_idempotent()
                || is_safe(method)
                || IDEMPOTENT.split(' ').any(|known| known == method.as_str())
        }
    }
}

// RFC 3253, 3648, 3744, 4437, 4791, 4918, 5842 and 2068, by way of the registry.
const IDEMPOTENT: &str = "\
    ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT COPY LABEL LINK MERGE MKACTIVITY MKCALENDAR \
    MKCOL MKREDIRECTREF MKWORKSPACE MOVE ORDERPATCH PROPPATCH REBIND UNBIND UNCHECKOUT UNLINK \
    UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_registry() {
        for (method, safe, idempotent) in [
            ("GET", true, true),
            ("QUERY", true, true),
            ("REPORT", true, true),
            ("TRACE", true, true),
            ("PUT", false, true),
            ("ACL", false, true),
            ("MKCOL", false, true),
            ("PROPPATCH", false, true),
            ("VERSION-CONTROL", false, true),
            ("POST", false, false),
            ("PATCH", false, false),
            ("CONNECT", false, false),
            ("LOCK", false, false),
            ("get", false, false),
            ("CONTROL", false, false),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(is_safe(&method), safe, "{method}");
            assert_eq!(is_idempotent(&method), idempotent, "{method}");
        }
    }
}

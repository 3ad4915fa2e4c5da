//! What the fuzz targets of this repository check.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, StatusCode, header::WWW_AUTHENTICATE};

use crate::{
    Moment, Recovery,
    challenge::{MAX_FIELD, Verdict, challenges, verdict},
    endpoint::parse,
};

/// Challenges: none is lost or changed by writing them anew, and a verdict has a
/// reason.
#[doc(hidden)]
pub fn fuzz_challenge(headers: &HeaderMap) {
    let found = challenges(headers);
    let says = |error| found.iter().any(|challenge| challenge.param("error") == Some(error));
    match verdict(headers) {
        Verdict::InvalidToken => assert!(says("invalid_token")),
        Verdict::InsufficientScope => assert!(says("insufficient_scope")),
        Verdict::Other => assert!(found.iter().any(|challenge| challenge.param("error").is_some())),
        Verdict::Bare => {}
    }
    let mut written = HeaderMap::new();
    for challenge in &found {
        match HeaderValue::from_str(&challenge.to_field()) {
            // Quotes make a field longer, and too long a one is not read to its end.
            Ok(value) if value.len() <= MAX_FIELD => written.append(WWW_AUTHENTICATE, value),
            _ => return,
        };
    }
    assert_eq!(challenges(&written), found);
}

/// The answer of a token endpoint: a token is whole and lives for a time that can be
/// added to any other; an error is one line, and is not of the kind that another
/// status calls for.
#[doc(hidden)]
pub fn fuzz_token_response(status: u16, headers: &HeaderMap, body: &[u8]) {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let asked = Moment::new(UNIX_EPOCH + Duration::from_secs(1_800_000_000), Duration::ZERO);
    match parse(status, headers, Some(body), asked, None) {
        Ok(token) => {
            assert!(status.is_success());
            assert!(!token.secret().expose().is_empty());
            let lifetime = token.lifetime().unwrap_or_default();
            assert!(asked.wall().checked_add(lifetime).is_some());
        }
        Err(error) => {
            assert!(!error.to_string().contains(char::is_control), "{error}");
            let transient = matches!(error.recovery(), Recovery::Retry { .. });
            assert!(transient || !status.is_server_error(), "{error}");
        }
    }
}

#[test]
fn seeds_hold() {
    let mut headers = HeaderMap::new();
    for field in ["Negotiate abc==, Bearer error=\"invalid_token\", a=\"\\\"\"", "Basic, a b=c d=e"]
    {
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(field));
    }
    fuzz_challenge(&headers);
}

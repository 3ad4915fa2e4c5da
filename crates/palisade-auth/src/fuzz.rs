//! What the fuzz targets of this repository check.

use http::{HeaderMap, HeaderValue, header::WWW_AUTHENTICATE};

use crate::challenge::{Verdict, challenges, verdict};

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
        if let Ok(value) = HeaderValue::from_str(&challenge.to_field()) {
            written.append(WWW_AUTHENTICATE, value);
        }
    }
    let small = challenges(&written).len() == found.len();
    assert!(!small || challenges(&written) == found, "{found:?} became {:?}", challenges(&written));
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

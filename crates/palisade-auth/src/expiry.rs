//! How long a token lives, by what is said of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;

/// Longer than any token lives, and short enough to be added to any time.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The value of `expires_in`: a number, or one in a text, as some servers send it.
/// What is no number is as if it was missing.
pub(crate) fn expires_in(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    (!seconds.is_nan()).then(|| duration(seconds))
}

/// How long a JWT lives from now on, if the token is one and says so.
///
/// Nobody has verified it: this is for timing alone.
pub(crate) fn of_jwt(token: &str, now: SystemTime) -> Option<Duration> {
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let expires = claims.get("exp")?.as_f64()?;
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(duration(expires).saturating_sub(now))
}

/// What is negative is over.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.clamp(0.0, LONGEST.as_secs_f64())).unwrap_or(LONGEST)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_every_form_of_a_lifetime() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for (value, expected) in [
            (json!(3600), seconds(3600)),
            (json!("3600"), seconds(3600)),
            (json!(" 3600 "), seconds(3600)),
            (json!(5), seconds(5)),
            (json!(1.5), Some(Duration::from_millis(1500))),
            (json!("1.5"), Some(Duration::from_millis(1500))),
            (json!(0), seconds(0)),
            (json!(-1), seconds(0)),
            (json!("-1"), seconds(0)),
            (json!(1e18), Some(LONGEST)),
            (json!(u64::MAX), Some(LONGEST)),
            (json!("1e18"), Some(LONGEST)),
            (json!("inf"), Some(LONGEST)),
            (json!("NaN"), None),
            (json!("soon"), None),
            (json!(""), None),
            (json!(null), None),
            (json!(true), None),
            (json!([3600]), None),
        ] {
            assert_eq!(expires_in(&value), expected, "{value}");
        }
    }

    #[test]
    fn the_end_of_a_jwt_is_known() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let jwt = |claims: &str| format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims));
        for (token, expected) in [
            (jwt(r#"{"exp":1000060}"#), Some(60)),
            (jwt(r#"{"exp":1000060.0,"iat":1}"#), Some(60)),
            (jwt(r#"{"exp":999999}"#), Some(0)),
            (jwt(r#"{"exp":-1}"#), Some(0)),
            (jwt(r#"{"exp":"1000060"}"#), None),
            (jwt(r#"{"iat":1000060}"#), None),
            (jwt("[]"), None),
            (jwt("junk"), None),
            (jwt(r#"{"exp":1000060}"#).replace(".c2ln", ""), None),
            (jwt(r#"{"exp":1000060}"#) + ".x.y", None),
            ("..".to_owned(), None),
            ("opaque".to_owned(), None),
            ("a.b=.c".to_owned(), None),
        ] {
            assert_eq!(of_jwt(&token, now), expected.map(Duration::from_secs), "{token}");
        }
        assert!(of_jwt(&jwt(r#"{"exp":1e300}"#), now).is_some());
    }
}

//! What the answer of a token endpoint means: RFC 6749, section 5, and what servers
//! make of it.

use std::{error::Error, fmt};

use http::{HeaderMap, StatusCode};
use palisade_core::{RetryAfter, date_of};
use serde_json::{Map, Value};

use crate::{AuthError, Moment, OAuthError, Recovery, Secret, Token, expiry};

/// Reads an answer. A `scheme` is that of the token, whatever the answer says.
pub(crate) fn parse(
    status: StatusCode,
    headers: &HeaderMap,
    body: Option<&[u8]>,
    asked: Moment,
    scheme: Option<&str>,
) -> Result<Token, AuthError> {
    let mut fields = success(status, headers, body, asked)?;
    let Some(secret) = take_text(&mut fields, "access_token").map(Secret::new) else {
        return Err(no_token(status, "without an access token"));
    };
    token(secret, &mut fields, headers, asked, scheme)
}

/// The members of an answer that says what was asked for, whatever that is.
pub(super) fn success(
    status: StatusCode,
    headers: &HeaderMap,
    body: Option<&[u8]>,
    asked: Moment,
) -> Result<Map<String, Value>, AuthError> {
    if status.is_redirection() {
        let recovery = Recovery::FixRequest;
        return Err(unexpected(
            "the token endpoint redirects, which is not followed",
            recovery,
            status,
            "that redirects",
        ));
    }
    // A code in there is of who knows whom: a gateway that repeats an old answer.
    if status.is_server_error() || TRANSIENT.contains(&status) {
        let recovery = retry(headers, asked);
        return Err(unexpected("the token endpoint fails", recovery, status, "that may pass"));
    }
    let Some(body) = body else {
        return Err(no_token(status, "with a body of more than 256 KiB"));
    };
    let Some(mut fields) = fields(body) else {
        return Err(no_token(status, "with a body that is neither JSON nor a form"));
    };
    match take_text(&mut fields, "error") {
        Some(code) if is_code(&code) => {
            return Err(refusal(code, &mut fields, status, headers, asked));
        }
        Some(_) => return Err(no_token(status, "with an error that is no code")),
        None => {}
    }
    if !status.is_success() {
        return Err(no_token(status, "without an error code"));
    }
    Ok(fields)
}

const TRANSIENT: [StatusCode; 3] =
    [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];

fn token(
    secret: Secret,
    fields: &mut Map<String, Value>,
    headers: &HeaderMap,
    asked: Moment,
    scheme: Option<&str>,
) -> Result<Token, AuthError> {
    let token_type = take_text(fields, "token_type");
    let scheme = match (scheme, token_type.as_deref()) {
        (Some(scheme), _) => scheme,
        (None, None) => "Bearer",
        // RFC 6749, section 5.1: without regard to case.
        (None, Some(known)) if known.eq_ignore_ascii_case("bearer") => "Bearer",
        (None, Some(known)) if known.eq_ignore_ascii_case("dpop") => "DPoP",
        // RFC 8693, section 2.2.1.
        (None, Some(known)) if known.eq_ignore_ascii_case("n_a") => {
            let message = "the token that was issued is not for access";
            return Err(AuthError::new(message, Recovery::FixRequest));
        }
        (None, Some(other)) => other,
    };
    let lifetime = fields.get("expires_in").and_then(expiry::expires_in);
    // By the clock of the server, if it tells: what is here may be off.
    let now = || date_of(headers).unwrap_or_else(|| asked.wall());
    let lifetime = lifetime.or_else(|| expiry::of_jwt(secret.expose(), now()));
    let mut token = Token::new(scheme, secret)?;
    if let Some(lifetime) = lifetime {
        token = token.expires_in(lifetime, asked);
    }
    if let Some(scope) = take_scope(fields) {
        token = token.scope(scope);
    }
    if let Some(refresh) = take_text(fields, "refresh_token") {
        token = token.refresh_token(refresh);
    }
    Ok(token)
}

fn refusal(
    code: String,
    fields: &mut Map<String, Value>,
    status: StatusCode,
    headers: &HeaderMap,
    asked: Moment,
) -> AuthError {
    let (message, recovery) = match &*code {
        "temporarily_unavailable" | "server_error" | "slow_down" | "authorization_pending" => {
            ("the token endpoint fails", retry(headers, asked))
        }
        "invalid_grant"
        | "expired_token"
        | "access_denied"
        | "invalid_token"
        | "interaction_required"
        | "login_required"
        | "consent_required" => ("the login is gone", Recovery::Reauthenticate),
        _ => ("the token endpoint refuses the request", Recovery::FixRequest),
    };
    let mut oauth = OAuthError::new(code, status);
    if let Some(description) = take_text(fields, "error_description") {
        oauth = oauth.with_description(shown(&description));
    }
    if let Some(uri) = take_text(fields, "error_uri") {
        oauth = oauth.with_uri(shown(&uri));
    }
    AuthError::new(message, recovery).with_oauth(oauth)
}

fn no_token(status: StatusCode, what: &'static str) -> AuthError {
    let recovery = match status.is_client_error() {
        true => Recovery::FixRequest,
        false => Recovery::Fatal,
    };
    unexpected("the token endpoint gave no token", recovery, status, what)
}

fn unexpected(
    message: &'static str,
    recovery: Recovery,
    status: StatusCode,
    what: &'static str,
) -> AuthError {
    AuthError::new(message, recovery).with_source(UnexpectedResponse { status, what })
}

fn retry(headers: &HeaderMap, asked: Moment) -> Recovery {
    Recovery::Retry { after: RetryAfter::delay_of(headers, || asked.wall()) }
}

/// The members of an object, or the parameters of a form, as some servers answer,
/// whatever they call it.
fn fields(body: &[u8]) -> Option<Map<String, Value>> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => return Some(object),
        Ok(_) => return None,
        Err(_) => {}
    }
    // A form has no letters but these, and so is told from a page or a text.
    let of_form =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"&=+%-._*~/:,;!$'()@|".contains(byte);
    if !body.contains(&b'=') || !body.iter().all(of_form) {
        return None;
    }
    let pairs = form_urlencoded::parse(body);
    Some(
        pairs.map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect(),
    )
}

/// A text that is not empty.
fn take_text(fields: &mut Map<String, Value>, name: &str) -> Option<String> {
    match fields.remove(name)? {
        Value::String(text) if !text.is_empty() => Some(text),
        // Some servers put an object there.
        Value::Object(_) | Value::Array(_) if name == "error" => Some(String::from(" ")),
        _ => None,
    }
}

/// RFC 6749, section 5.1, or a list, as some servers send it.
fn take_scope(fields: &mut Map<String, Value>) -> Option<String> {
    let Some(Value::Array(list)) = fields.get("scope") else {
        return take_text(fields, "scope");
    };
    let list: Option<Vec<_>> = list.iter().map(Value::as_str).collect();
    Some(list?.join(" "))
}

/// RFC 6749, section 5.2, without spaces, and not without end.
pub(crate) fn is_code(code: &str) -> bool {
    code.len() <= 64
        && code.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\<>".contains(&byte))
}

/// A text of a server, fit for a line of a log.
pub(crate) fn shown(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(512).collect()
}

/// A token endpoint has answered with what is neither a token nor an error of
/// OAuth, or with a status that says that it fails. Its body is not shown.
///
/// It is the source of an [`AuthError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnexpectedResponse {
    status: StatusCode,
    what: &'static str,
}

impl UnexpectedResponse {
    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl fmt::Display for UnexpectedResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {} {}", self.status.as_u16(), self.what)
    }
}

impl Error for UnexpectedResponse {}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    use http::HeaderValue;
    use palisade_core::find_cause;
    use proptest::prelude::*;

    use super::*;

    const RETRY: Recovery = Recovery::Retry { after: None };

    fn asked() -> Moment {
        Moment::new(UNIX_EPOCH + Duration::from_secs(1_000_000), Duration::ZERO)
    }

    fn read(status: u16, body: &str) -> Result<Token, AuthError> {
        read_with(status, &HeaderMap::new(), body)
    }

    fn read_with(status: u16, headers: &HeaderMap, body: &str) -> Result<Token, AuthError> {
        let status = StatusCode::from_u16(status).unwrap();
        parse(status, headers, Some(body.as_bytes()), asked(), None)
    }

    #[test]
    fn a_token_is_read_as_the_specification_has_it() {
        // RFC 6749, section 5.1.
        let body = r#"{
            "access_token":"2YotnFZFEjr1zCsicMWpAA",
            "token_type":"example",
            "expires_in":3600,
            "refresh_token":"tGzv3JOkF0XG5Qx2TlKWIA",
            "example_parameter":"example_value"
        }"#;
        let token = read(200, body).unwrap();
        assert_eq!(token.header(), "example 2YotnFZFEjr1zCsicMWpAA");
        assert_eq!(token.lifetime(), Some(Duration::from_secs(3600)));
        assert_eq!(token.asked(), Some(asked()));
        assert_eq!(token.renewal().unwrap().expose(), "tGzv3JOkF0XG5Qx2TlKWIA");
        assert_eq!(token.granted_scope(), None);
    }

    #[test]
    fn a_token_is_read_whatever_its_form() {
        for (body, header, lifetime, scope) in [
            (r#"{"access_token":"t"}"#, "Bearer t", None, None),
            (r#"{"access_token":"t","token_type":"BEARER"}"#, "Bearer t", None, None),
            (r#"{"access_token":"t","token_type":"dpop"}"#, "DPoP t", None, None),
            (r#"{"access_token":"t","token_type":""}"#, "Bearer t", None, None),
            (r#"{"access_token":"t","token_type":null,"error":null}"#, "Bearer t", None, None),
            (r#"{"access_token":"t","error":""}"#, "Bearer t", None, None),
            (r#"{"access_token":"t","expires_in":"3600"}"#, "Bearer t", Some(3600), None),
            (r#"{"access_token":"t","expires_in":-5}"#, "Bearer t", Some(0), None),
            (r#"{"access_token":"t","expires_in":"soon"}"#, "Bearer t", None, None),
            (r#"{"access_token":"t","scope":"a b"}"#, "Bearer t", None, Some("a b")),
            (r#"{"access_token":"t","scope":["a","b"]}"#, "Bearer t", None, Some("a b")),
            (r#"{"access_token":"t","scope":[1]}"#, "Bearer t", None, None),
            ("\u{feff} {\"access_token\":\"t\"} ", "Bearer t", None, None),
            (
                "access_token=t&expires_in=60&scope=a%20b&token_type=bearer",
                "Bearer t",
                Some(60),
                Some("a b"),
            ),
            ("access_token=t&scope=repo%2Cgist\n", "Bearer t", None, Some("repo,gist")),
        ] {
            let token = read(200, body).unwrap();
            assert_eq!(token.header(), header, "{body}");
            assert_eq!(token.lifetime(), lifetime.map(Duration::from_secs), "{body}");
            assert_eq!(token.granted_scope(), scope, "{body}");
        }
        let scheme = Some("Bearer");
        let body = br#"{"access_token":"t","token_type":"user"}"#;
        let token = parse(StatusCode::OK, &HeaderMap::new(), Some(body), asked(), scheme).unwrap();
        assert_eq!(token.header(), "Bearer t");
    }

    #[test]
    fn a_jwt_tells_its_end_if_nothing_else_does() {
        let jwt = format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(r#"{"exp":1000100}"#));
        let alone = format!(r#"{{"access_token":"{jwt}"}}"#);
        let told = format!(r#"{{"access_token":"{jwt}","expires_in":7}}"#);
        let mut dated = HeaderMap::new();
        // Half a minute later than here: 1000030 seconds after 1970.
        dated.insert("date", HeaderValue::from_static("Mon, 12 Jan 1970 13:47:10 GMT"));
        for (headers, body, lifetime) in
            [(HeaderMap::new(), &alone, 100), (dated, &alone, 70), (HeaderMap::new(), &told, 7)]
        {
            let token = read_with(200, &headers, body).unwrap();
            assert_eq!(token.lifetime(), Some(Duration::from_secs(lifetime)));
        }
    }

    #[test]
    fn a_refusal_says_what_can_be_done() {
        let (login, fix) = (Recovery::Reauthenticate, Recovery::FixRequest);
        for (status, body, recovery, shown) in [
            (400, r#"{"error":"invalid_grant"}"#, login, "the login is gone: invalid_grant"),
            (200, r#"{"error":"invalid_grant"}"#, login, "the login is gone: invalid_grant"),
            (
                400,
                r#"{"error":"invalid_grant","error_description":"it is\r\nused","error_uri":"https://a"}"#,
                login,
                "the login is gone: invalid_grant (it is  used)",
            ),
            (
                401,
                r#"{"error":"invalid_client"}"#,
                fix,
                "the token endpoint refuses the request: invalid_client",
            ),
            (
                400,
                "error=invalid_scope&error_description=no+such+scope",
                fix,
                "the token endpoint refuses the request: invalid_scope (no such scope)",
            ),
            (
                200,
                r#"{"access_token":"canary","error":"bad_verification_code"}"#,
                fix,
                "the token endpoint refuses the request: bad_verification_code",
            ),
            (
                400,
                r#"{"error":"temporarily_unavailable"}"#,
                RETRY,
                "the token endpoint fails: temporarily_unavailable",
            ),
        ] {
            let error = read(status, body).unwrap_err();
            assert_eq!((error.recovery(), &*error.to_string()), (recovery, shown), "{body}");
            assert_eq!(error.oauth().unwrap().status(), status);
        }
        let long = format!(r#"{{"error":"x","error_description":"{}"}}"#, "y".repeat(10_000));
        let error = read(400, &long).unwrap_err();
        assert!(error.to_string().len() < 600);
    }

    #[test]
    fn an_answer_that_makes_no_sense_has_a_status() {
        let (fix, fatal) = (Recovery::FixRequest, Recovery::Fatal);
        for (status, body, recovery, shown) in [
            (302, "", fix, "status 302 that redirects"),
            (307, r#"{"access_token":"canary"}"#, fix, "status 307 that redirects"),
            (500, r#"{"error":"invalid_grant"}"#, RETRY, "status 500 that may pass"),
            (503, r#"{"access_token":"canary"}"#, RETRY, "status 503 that may pass"),
            (429, "<p>canary</p>", RETRY, "status 429 that may pass"),
            (408, "", RETRY, "status 408 that may pass"),
            (200, "<p>canary</p>", fatal, "status 200 with a body that is neither JSON nor a form"),
            (
                200,
                r#"<a href="/?a=canary&error=denied&access_token=canary">"#,
                fatal,
                "status 200 with a body that is neither JSON nor a form",
            ),
            (200, "", fatal, "status 200 with a body that is neither JSON nor a form"),
            (200, "[]", fatal, "status 200 with a body that is neither JSON nor a form"),
            (200, "\"canary\"", fatal, "status 200 with a body that is neither JSON nor a form"),
            (200, "{}", fatal, "status 200 without an access token"),
            (200, "a=canary", fatal, "status 200 without an access token"),
            (200, r#"{"access_token":""}"#, fatal, "status 200 without an access token"),
            (200, r#"{"access_token":["canary"]}"#, fatal, "status 200 without an access token"),
            (403, "<p>canary</p>", fix, "status 403 with a body that is neither JSON nor a form"),
            (404, "{}", fix, "status 404 without an error code"),
            (401, r#"{"access_token":"canary"}"#, fix, "status 401 without an error code"),
            (
                400,
                r#"{"error":{"code":"canary"}}"#,
                fix,
                "status 400 with an error that is no code",
            ),
            (
                400,
                r#"{"error":"the canary died"}"#,
                fix,
                "status 400 with an error that is no code",
            ),
        ] {
            let error = read(status, body).unwrap_err();
            assert_eq!(error.recovery(), recovery, "{status} {body}");
            assert!(error.oauth().is_none(), "{status} {body}");
            let unexpected = find_cause::<UnexpectedResponse>(&error).unwrap();
            assert_eq!((unexpected.status().as_u16(), &*unexpected.to_string()), (status, shown));
            assert!(!format!("{error} {error:?} {error:#?}").contains("canary"), "{body}");
        }
        let long = parse(StatusCode::OK, &HeaderMap::new(), None, asked(), None).unwrap_err();
        assert_eq!(long.recovery(), fatal);
    }

    #[test]
    fn a_token_that_cannot_be_sent_is_an_error() {
        for body in [
            r#"{"access_token":"canary\n"}"#,
            r#"{"access_token":"can ary"}"#,
            "{\"access_token\":\"canary\u{e9}\"}",
            r#"{"access_token":"canary","token_type":"two words"}"#,
        ] {
            let error = read(200, body).unwrap_err();
            assert_eq!(error.recovery(), Recovery::Fatal);
            assert!(!format!("{error} {error:?}").contains("can"), "{error:?}");
        }
        // RFC 8693, section 2.2.1.
        let error = read(200, r#"{"access_token":"canary","token_type":"N_A"}"#).unwrap_err();
        assert_eq!(error.recovery(), Recovery::FixRequest);
        assert_eq!(error.to_string(), "the token that was issued is not for access");
    }

    #[test]
    fn a_server_says_how_long_to_wait() {
        for (status, body, field, after) in [
            (503, "", "120", Some(120)),
            (429, r#"{"error":"invalid_client"}"#, "7", Some(7)),
            (503, "", "Mon, 12 Jan 1970 13:46:45 GMT", Some(5)),
            (400, r#"{"error":"slow_down"}"#, "5", Some(5)),
            (503, "", "soon", None),
        ] {
            let headers = HeaderMap::from_iter([(
                http::header::RETRY_AFTER,
                HeaderValue::from_static(field),
            )]);
            let error = read_with(status, &headers, body).unwrap_err();
            let after = after.map(Duration::from_secs);
            assert_eq!(error.recovery(), Recovery::Retry { after }, "{status} {field}");
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_read(status in 100..1000_u16, body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let status = StatusCode::from_u16(status).unwrap();
            let _ = parse(status, &HeaderMap::new(), Some(&body), asked(), None);
        }

        #[test]
        fn a_token_lives_for_a_time_that_can_be_added(text in "-?[0-9]{1,25}(\\.[0-9]{1,5})?(e[0-9]{1,3})?") {
            for value in [text.clone(), format!("{text:?}")] {
                let body = format!(r#"{{"access_token":"t","expires_in":{value}}}"#);
                if let Ok(token) = read(200, &body) {
                    let lifetime = token.lifetime().unwrap_or_default();
                    prop_assert!(asked().wall().checked_add(lifetime).is_some());
                }
            }
        }
    }
}

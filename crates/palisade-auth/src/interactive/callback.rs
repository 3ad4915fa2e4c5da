use http::StatusCode;

use super::{pkce::same, polling::DENIED};
use crate::{
    AuthError, OAuthError, Recovery, Secret,
    endpoint::{is_code, shown},
};

/// What the answer of an authorization server has to be like.
pub(super) struct Expected {
    pub(super) path: String,
    pub(super) state: Secret,
    pub(super) issuer: Option<String>,
}

/// What a request to the loopback address is.
#[derive(Debug)]
pub(super) enum Callback {
    /// The answer: a code, or an error.
    Answer(Result<Secret, AuthError>),
    /// Something else, to be refused with this status: any page can have a browser send
    /// requests here, so it ends nothing.
    Other(StatusCode),
}

impl Expected {
    /// Reads the first line of a request.
    pub(super) fn read(&self, line: &str) -> Callback {
        let mut parts = line.split(' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Callback::Other(StatusCode::BAD_REQUEST);
        };
        if !version.starts_with("HTTP/1.") {
            return Callback::Other(StatusCode::BAD_REQUEST);
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if path != self.path {
            return Callback::Other(StatusCode::NOT_FOUND);
        }
        if method != "GET" {
            return Callback::Other(StatusCode::METHOD_NOT_ALLOWED);
        }
        let Some(answer) = Answer::read(query) else {
            return Callback::Other(StatusCode::BAD_REQUEST);
        };
        // RFC 6749, section 10.12.
        if !answer.state.as_deref().is_some_and(|state| same(state, self.state.expose())) {
            return Callback::Other(StatusCode::BAD_REQUEST);
        }
        Callback::Answer(self.judge(answer))
    }

    fn judge(&self, answer: Answer) -> Result<Secret, AuthError> {
        // RFC 9207, section 2.4: of errors as well.
        if let (Some(expected), Some(issuer)) = (&self.issuer, &answer.issuer)
            && expected != issuer
        {
            let message = "another server has answered than the one that was asked";
            return Err(AuthError::new(message, Recovery::Fatal));
        }
        match (answer.error, answer.code) {
            (Some(code), _) if is_code(&code) => {
                let (message, recovery) = match &*code {
                    "access_denied" => (DENIED, Recovery::Reauthenticate),
                    "server_error" | "temporarily_unavailable" => {
                        ("the server could not log in", Recovery::Retry { after: None })
                    }
                    "login_required" | "consent_required" | "interaction_required" => {
                        ("the server did not log in", Recovery::Reauthenticate)
                    }
                    _ => ("the server refuses the login", Recovery::FixRequest),
                };
                // There is no status: a browser was sent here.
                let mut oauth = OAuthError::new(code, StatusCode::FOUND);
                if let Some(description) = answer.description {
                    oauth = oauth.with_description(shown(&description));
                }
                Err(AuthError::new(message, recovery).with_oauth(oauth))
            }
            (None, Some(code)) => Ok(Secret::new(code)),
            _ => {
                let message = "the server has answered with neither a code nor an error";
                Err(AuthError::new(message, Recovery::Fatal))
            }
        }
    }
}

#[derive(Default)]
struct Answer {
    state: Option<String>,
    issuer: Option<String>,
    code: Option<String>,
    error: Option<String>,
    description: Option<String>,
}

impl Answer {
    /// Nothing, if a parameter stands twice: RFC 6749, section 3.1.
    fn read(query: &str) -> Option<Self> {
        let mut answer = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let place = match &*name {
                "state" => &mut answer.state,
                "iss" => &mut answer.issuer,
                "code" => &mut answer.code,
                "error" => &mut answer.error,
                "error_description" => &mut answer.description,
                _ => continue,
            };
            if place.is_some() {
                return None;
            }
            // The same section: what is empty counts as left out.
            if !value.is_empty() {
                *place = Some(value.into_owned());
            }
        }
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Callback {
        let issuer = Some("https://as.example".to_owned());
        let expected = Expected { path: "/callback".into(), state: Secret::new("right"), issuer };
        expected.read(line)
    }

    #[test]
    fn a_code_is_taken() {
        for query in [
            "code=c%2B1&state=right",
            "state=right&code=c%2B1&iss=https%3A%2F%2Fas.example&session_state=x&session_state=y",
            "state=right&error=&code=c%2B1",
        ] {
            let Callback::Answer(Ok(code)) = read(&format!("GET /callback?{query} HTTP/1.1"))
            else {
                panic!("{query}");
            };
            assert_eq!(code.expose(), "c+1");
        }
    }

    #[test]
    fn what_is_no_answer_ends_nothing() {
        for (line, status) in [
            ("GET /callback?code=c&state=wrong HTTP/1.1", 400),
            ("GET /callback?code=c&state=righ HTTP/1.1", 400),
            ("GET /callback?code=c&state= HTTP/1.1", 400),
            ("GET /callback?code=c HTTP/1.1", 400),
            ("GET /callback?error=access_denied HTTP/1.1", 400),
            ("GET /callback?code=c&state=wrong&state=right HTTP/1.1", 400),
            ("GET /callback?code=c&code=d&state=right HTTP/1.1", 400),
            ("GET /callback HTTP/1.1", 400),
            ("GET /favicon.ico HTTP/1.1", 404),
            ("GET /callback/?code=c&state=right HTTP/1.1", 404),
            ("GET http://127.0.0.1/callback?code=c&state=right HTTP/1.1", 404),
            ("POST /callback?code=c&state=right HTTP/1.1", 405),
            ("HEAD /callback?code=c&state=right HTTP/1.1", 405),
            ("PRI * HTTP/2.0", 400),
            ("GET /callback?code=c&state=right", 400),
            ("\u{16}\u{3}\u{1}", 400),
            ("", 400),
        ] {
            let Callback::Other(refused) = read(line) else { panic!("{line}") };
            assert_eq!(refused.as_u16(), status, "{line}");
        }
    }

    #[test]
    fn an_error_ends_the_login() {
        for (query, recovery, shown) in [
            (
                "error=access_denied&error_description=no%0Away",
                Recovery::Reauthenticate,
                "the login was denied: access_denied (no way)",
            ),
            (
                "error=server_error",
                Recovery::Retry { after: None },
                "the server could not log in: server_error",
            ),
            (
                "error=invalid_scope&code=c",
                Recovery::FixRequest,
                "the server refuses the login: invalid_scope",
            ),
            (
                "code=c&iss=https%3A%2F%2Fevil.example",
                Recovery::Fatal,
                "another server has answered than the one that was asked",
            ),
            (
                "error=access_denied&iss=https%3A%2F%2Fas.example%2F",
                Recovery::Fatal,
                "another server has answered than the one that was asked",
            ),
            ("", Recovery::Fatal, "the server has answered with neither a code nor an error"),
            (
                "error=two+words",
                Recovery::Fatal,
                "the server has answered with neither a code nor an error",
            ),
        ] {
            let line = format!("GET /callback?state=right&{query} HTTP/1.1");
            let Callback::Answer(Err(error)) = read(&line) else { panic!("{query}") };
            assert_eq!((error.recovery(), &*error.to_string()), (recovery, shown), "{query}");
        }
    }
}

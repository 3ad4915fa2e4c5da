//! What callers are told when there is no answer of the upstream: a status and problem details
//! (RFC 9457), and nothing of what is behind the gateway.

use std::error::Error;

use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::LengthLimitError;
use palisade::{
    client::Body,
    core::{BoxError, ErrorKind, find_cause},
};

/// Why a request is not answered by the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    detail: &'static str,
}

impl Problem {
    pub(crate) const fn new(status: StatusCode, detail: &'static str) -> Self {
        Self { status, detail }
    }

    /// What an error comes to.
    pub(crate) fn of(error: &BoxError) -> Self {
        if find_cause::<LengthLimitError>(&**error).is_some() {
            return Self::TOO_LARGE;
        }
        match ErrorKind::of(&**error) {
            ErrorKind::Body => {
                Self::new(StatusCode::BAD_REQUEST, "the request's body broke off or is malformed")
            }
            ErrorKind::Timeout => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, "the upstream did not answer in time")
            }
            ErrorKind::Open | ErrorKind::Limited => Self::UNAVAILABLE,
            ErrorKind::Auth => Self::NOT_ADMITTED,
            ErrorKind::Connect | ErrorKind::Dns | ErrorKind::Tls => {
                Self::new(StatusCode::BAD_GATEWAY, "the upstream cannot be reached")
            }
            _ => Self::new(StatusCode::BAD_GATEWAY, "the upstream gave no valid answer"),
        }
    }

    pub(crate) const TOO_LARGE: Self =
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "the request's body is larger than is allowed");
    pub(crate) const NOT_ADMITTED: Self =
        Self::new(StatusCode::BAD_GATEWAY, "the upstream does not admit the gateway");
    const UNAVAILABLE: Self =
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the upstream is left alone for a while");

    pub(crate) fn response(self) -> Response<Body> {
        let mut response = Response::default();
        *response.status_mut() = self.status;
        if self.status == StatusCode::NO_CONTENT {
            return response;
        }
        // No text in here needs an escape.
        let body = format!(
            r#"{{"type":"about:blank","title":"{}","status":{},"detail":"{}"}}"#,
            self.status.canonical_reason().unwrap_or_default(),
            self.status.as_u16(),
            self.detail,
        );
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        *response.body_mut() = body.into();
        response
    }
}

/// An error with its causes, for the log of who runs the gateway.
pub(crate) fn chain(error: &BoxError) -> String {
    let mut text = error.to_string();
    let mut cause: Option<&dyn Error> = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

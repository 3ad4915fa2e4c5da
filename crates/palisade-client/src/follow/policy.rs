use http::{
    HeaderName, Request, StatusCode,
    header::{
        CONTENT_DISPOSITION, CONTENT_LANGUAGE, CONTENT_LOCATION, EXPECT, IF_MATCH,
        IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
        TRAILER,
    },
};
use http_body::Body as _;
use palisade_core::{BoxError, is_safe};
use tower_http::follow_redirect::policy::{Action, Attempt, Policy};

use crate::{
    Body,
    away::Away,
    url::{same_origin, without_userinfo},
};

/// Follows so many redirects, and takes nothing along to another origin that could
/// be a secret: neither fields but those that say what is wanted, nor a body. Nothing
/// but safe methods go there.
#[derive(Clone, Debug)]
pub(super) struct OwnOrigin {
    left: usize,
    // The request is no more the first one.
    led: bool,
    // It is made by another method.
    done: bool,
    away: bool,
    body: bool,
}

impl OwnOrigin {
    pub(super) fn new(most: usize, body: &Body) -> Self {
        Self { left: most, led: false, done: false, away: false, body: !body.is_end_stream() }
    }
}

/// What is of no more use when a write is done: what it insisted on, and what was said of its
/// content, beside what tower-http knows (RFC 9110, section 15.4).
const OF_WRITES: [HeaderName; 12] = [
    IF_MATCH,
    IF_UNMODIFIED_SINCE,
    EXPECT,
    TRAILER,
    CONTENT_DISPOSITION,
    CONTENT_LANGUAGE,
    CONTENT_LOCATION,
    LAST_MODIFIED,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("repr-digest"),
];

impl Policy<Body, BoxError> for OwnOrigin {
    fn redirect(&mut self, attempt: &Attempt<'_>) -> Result<Action, BoxError> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(Action::Stop);
        };
        (self.left, self.led) = (left, true);
        // What is not http is not for this client.
        let known = matches!(attempt.location().scheme_str(), Some("http" | "https"));
        if !known {
            return Ok(Action::Stop);
        }
        self.done |= attempt.method() != attempt.previous_method();
        // With these the body was left out.
        self.body &= attempt.status() != StatusCode::SEE_OTHER && !self.done;
        if !same_origin(attempt.previous(), attempt.location()) {
            if self.body || !is_safe(attempt.method()) {
                return Ok(Action::Stop);
            }
            self.away = true;
        }
        Ok(Action::Follow)
    }

    fn on_request(&mut self, request: &mut Request<Body>) {
        if !self.led {
            return;
        }
        palisade_core::Attempt::count_resend(request.extensions_mut());
        if let Some(uri) = without_userinfo(request.uri()) {
            *request.uri_mut() = uri;
        }
        let safe = is_safe(request.method());
        let fields = request.headers_mut();
        if self.done {
            for name in OF_WRITES {
                fields.remove(name);
            }
        }
        // What is known is what was asked for first, which is answered already: 304 would be about
        // something else.
        if safe {
            fields.remove(IF_NONE_MATCH);
            fields.remove(IF_MODIFIED_SINCE);
            // RFC 9110, section 13.1.5: it is wanted if nothing has changed, and else the whole.
            if fields.remove(IF_RANGE).is_some() {
                fields.remove(RANGE);
            }
        }
        if self.away {
            Away::send(request);
        }
    }

    fn clone_body(&self, body: &Body) -> Option<Body> {
        body.try_clone()
    }
}

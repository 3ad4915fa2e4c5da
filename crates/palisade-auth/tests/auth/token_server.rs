//! A token server in place of one behind a network.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use palisade_auth::{Moment, TokenEndpoint};
use tower::Service;

pub(crate) const URI: &str = "https://as.example/token";

/// Wednesday, 2027-01-15.
pub(crate) fn now() -> Moment {
    Moment::new(UNIX_EPOCH + Duration::from_secs(1_800_000_000), Duration::from_secs(1))
}

/// Answers with what it was told, and remembers what it was asked.
#[derive(Clone, Default)]
pub(crate) struct TokenServer {
    asked: Arc<Mutex<Vec<Request<Bytes>>>>,
    answers: Arc<Mutex<Vec<Response<Full<Bytes>>>>>,
}

impl TokenServer {
    /// One that gives the tokens `t1`, `t2` and so on, for an hour each.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Answers first with this, after what it has been told before.
    pub(crate) fn answer(self, status: u16, body: impl Into<Bytes>) -> Self {
        let answer = Response::builder().status(status).body(Full::new(body.into())).unwrap();
        self.answer_with(answer)
    }

    pub(crate) fn answer_with(self, answer: Response<Full<Bytes>>) -> Self {
        self.answers.lock().unwrap().insert(0, answer);
        self
    }

    pub(crate) fn endpoint(&self) -> TokenEndpoint {
        TokenEndpoint::new(URI, self.clone())
    }

    pub(crate) fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// The last request.
    pub(crate) fn last(&self) -> Request<Bytes> {
        self.asked.lock().unwrap().last().expect("nobody has asked").clone()
    }

    /// The form of the last request, as it was sent.
    pub(crate) fn form(&self) -> String {
        String::from_utf8(self.last().body().to_vec()).unwrap()
    }

    /// A parameter of the last request.
    pub(crate) fn param(&self, name: &str) -> Option<String> {
        let form = self.form();
        let mut pairs = form_urlencoded::parse(form.as_bytes());
        pairs.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    }
}

impl Service<Request<Full<Bytes>>> for TokenServer {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let collected = futures_util::FutureExt::now_or_never(body.collect());
        let body = collected.expect("it is here").unwrap().to_bytes();
        let mut asked = self.asked.lock().unwrap();
        asked.push(Request::from_parts(parts, body));
        let fresh = || {
            let count = asked.len();
            let body = format!(r#"{{"access_token":"t{count}","expires_in":3600}}"#);
            Response::new(Full::from(body))
        };
        ready(Ok(self.answers.lock().unwrap().pop().unwrap_or_else(fresh)))
    }
}

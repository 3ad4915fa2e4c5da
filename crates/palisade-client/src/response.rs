use std::fmt;

use bytes::{Buf, Bytes};
use http::{
    Extensions, HeaderMap, Response as HttpResponse, StatusCode, Uri, Version, response::Parts,
};
use http_body::Body as HttpBody;
use palisade_core::BoxError;
use serde::de::DeserializeOwned;
use tower_http::follow_redirect::RequestUri;

use crate::{
    DecodeError, Error, Json, Problem, Refused,
    call::Call,
    collect::{Collect, Collected, End, KEPT},
    decode,
    error::{Answer, Fact},
    expiry::Expiry,
};

/// An answer, whose body was not read yet.
pub struct Response<B> {
    head: Parts,
    body: B,
    call: Call,
    rules: Rules,
    expiry: Expiry,
}

/// What bodies are taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) limit: usize,
    pub(crate) lenient: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { limit: 16 << 20, lenient: false }
    }
}

impl<B> Response<B> {
    pub(crate) fn new(
        response: HttpResponse<B>,
        mut call: Call,
        rules: Rules,
        expiry: Expiry,
    ) -> Self {
        let (head, body) = response.into_parts();
        if let Some(RequestUri(led)) = head.extensions.get() {
            call.uri = led.clone();
        }
        Self { head, body, call, rules, expiry }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// The version of HTTP that it came by.
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// The header fields.
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// What layers have left with the answer.
    pub fn extensions(&self) -> &Extensions {
        &self.head.extensions
    }

    /// Where it comes from: where the request went, or the last of the redirects led that
    /// were followed, by [`Client`](crate::Client) or by a layer of tower-http.
    pub fn uri(&self) -> &Uri {
        &self.call.uri
    }

    /// Sets how many bytes of the body are collected before it is an error.
    /// Defaults to what the client says.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.rules.limit = bytes;
        self
    }

    /// Takes the body for JSON whatever its `Content-Type` says. Defaults to
    /// what the client says.
    pub fn lenient(mut self) -> Self {
        self.rules.lenient = true;
        self
    }

    /// The body, to be read as it comes: without limit, and without the
    /// deadline of the request.
    pub fn into_body(self) -> B {
        self.body
    }

    pub(crate) fn map_body<C>(self, map: impl FnOnce(B) -> C) -> Response<C> {
        let Self { head, body, call, rules, expiry } = self;
        Response { head, body: map(body), call, rules, expiry }
    }

    pub(crate) fn call(&self) -> &Call {
        &self.call
    }

    /// What it takes to read the body while the answer stays.
    pub(crate) fn reading(&mut self) -> (&mut B, &mut Expiry, &Call) {
        (&mut self.body, &mut self.expiry, &self.call)
    }

    /// The answer as it came from the service.
    pub fn into_http(self) -> HttpResponse<B> {
        HttpResponse::from_parts(self.head, self.body)
    }
}

impl<B> Response<B>
where
    B: HttpBody<Error: Into<BoxError>>,
{
    /// Decodes the body, if the status is one of success and it says that it
    /// is JSON.
    ///
    /// An empty body is `None` for an `Option`, and `()`. The body is parsed
    /// once; if it has come in one piece, it is not copied. See
    /// [`Json::valid_by`] for what is asked of the value.
    pub fn json<T: DeserializeOwned>(self) -> Json<T, B> {
        Json::new(self.head, self.body, self.call, self.rules, self.expiry)
    }

    /// Decodes the body as one of two types: one for success, and one for the
    /// API's errors. With [`Problem`] as that, it is RFC 9457.
    ///
    /// # Errors
    ///
    /// As [`json`](Self::json); an error that is not of the API's type is an
    /// [`Error`] with the status.
    pub async fn json_or<T, E>(self) -> Result<Result<T, Refused<E>>, Error>
    where
        T: DeserializeOwned,
        E: DeserializeOwned,
    {
        match self.json().await {
            Ok(value) => Ok(Ok(value)),
            Err(error) => Refused::of(error).map(Err),
        }
    }

    /// The whole body, whatever the status.
    ///
    /// # Errors
    ///
    /// If it breaks off, comes too late, or is longer than the limit.
    pub async fn bytes(self) -> Result<Bytes, Error> {
        self.collect().await.map(|(bytes, ..)| bytes)
    }

    /// The whole body as text, whatever the status. A byte order mark is dropped.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes), and if it is not UTF-8.
    pub async fn text(self) -> Result<String, Error> {
        let (mut bytes, head, call) = self.collect().await?;
        bytes.advance(bytes.len() - decode::without_bom(&bytes).len());
        String::from_utf8(bytes.into()).map_err(|error| {
            let fact = Fact::Decode(DecodeError::not_utf8(error.utf8_error().valid_up_to()));
            Error::new(fact, Some(call), Some(Answer::new(head, &error.into_bytes().into(), false)))
        })
    }

    /// The answer, if its status is one of success.
    ///
    /// # Errors
    ///
    /// If it is none, with the start of the body and its [`Problem`].
    pub async fn error_for_status(self) -> Result<Self, Error> {
        if self.head.status.is_success() {
            return Ok(self);
        }
        let Self { head, body, call, rules, expiry } = self;
        let Collected { bytes, end } = Collect::start(body, rules.limit, expiry).await;
        Err(status_error(head, call, &bytes, matches!(end, End::Whole)))
    }

    async fn collect(self) -> Result<(Bytes, Parts, Call), Error> {
        let Self { head, body, call, rules, expiry } = self;
        let Collected { bytes, end } = Collect::whole(body, rules.limit, expiry).await;
        let fact = match end {
            End::Whole => return Ok((bytes, head, call)),
            End::TooLarge => Fact::TooLarge(rules.limit),
            End::Broken(error) => Fact::Body(error),
        };
        Err(Error::new(fact, Some(call), Some(Answer::new(head, &bytes, true))))
    }
}

impl Answer {
    pub(crate) fn new(head: Parts, bytes: &Bytes, cut: bool) -> Self {
        let (body, truncated) = if KEPT < bytes.len() {
            // So that the error does not hold on to the rest.
            (Bytes::copy_from_slice(&bytes[..KEPT]), true)
        } else {
            (bytes.clone(), cut)
        };
        Self { status: head.status, headers: head.headers, body, truncated }
    }
}

pub(crate) fn status_error(head: Parts, call: Call, bytes: &Bytes, whole: bool) -> Error {
    let answer = Answer::new(head, bytes, !whole);
    let problem = Problem::of(&answer.headers, &answer.body);
    Error::new(Fact::Status(problem), Some(call), Some(answer))
}

impl<B> fmt::Debug for Response<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("call", &format_args!("{}", self.call))
            .field("status", &self.head.status.as_u16())
            .finish_non_exhaustive()
    }
}

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response as HttpResponse;
use http_body::Body as HttpBody;
use palisade_core::{BoxError, Deadline};
use pin_project_lite::pin_project;
use serde::de::DeserializeOwned;

use super::Decoded;
use crate::{Json, Validate, call::Call, expiry::Expiry, response::Rules};

/// What is needed once there is an answer.
pub(super) struct Rest<V> {
    pub(super) call: Call,
    pub(super) deadline: Option<Deadline>,
    pub(super) rules: Rules,
    pub(super) validate: V,
}

pin_project! {
    /// The future of [`Decode`].
    pub struct DecodeFuture<F, T, B, V> {
        #[pin]
        stage: Stage<F, T, B, V>,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<F, T, B, V> {
        // The inner service works on it.
        Called { #[pin] future: F, rest: Option<Rest<V>> },
        // The body is read.
        Answered { #[pin] json: Json<T, B, V> },
    }
}

impl<F, T, B, V> DecodeFuture<F, T, B, V> {
    pub(super) fn new(future: F, rest: Rest<V>) -> Self {
        Self { stage: Stage::Called { future, rest: Some(rest) } }
    }
}

impl<F, E, T, B, V> Future for DecodeFuture<F, T, B, V>
where
    F: Future<Output = Result<HttpResponse<B>, E>>,
    E: Into<BoxError>,
    B: HttpBody<Error: Into<BoxError>>,
    T: DeserializeOwned,
    V: Validate<T>,
{
    type Output = Result<HttpResponse<Decoded<T, B>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let (response, rest) = match this.stage.as_mut().project() {
                StageProj::Called { future, rest } => {
                    let response = ready!(future.poll(cx)).map_err(Into::into)?;
                    (response, rest.take().expect("polled after it was ready"))
                }
                StageProj::Answered { json } => {
                    let answer = ready!(json.poll_answer(cx));
                    let (head, value) = answer?;
                    return Poll::Ready(Ok(HttpResponse::from_parts(head, Decoded::Value(value))));
                }
            };
            if !response.status().is_success() {
                return Poll::Ready(Ok(response.map(Decoded::Body)));
            }
            let (head, body) = response.into_parts();
            let Rest { call, deadline, rules, validate } = rest;
            let expiry = Expiry::at(deadline.map(|deadline| deadline.0));
            let json = Json::new(head, body, call, rules, expiry).valid_by(validate);
            this.stage.set(Stage::Answered { json });
        }
    }
}

impl<F, T, B, V> fmt::Debug for DecodeFuture<F, T, B, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecodeFuture").finish_non_exhaustive()
    }
}

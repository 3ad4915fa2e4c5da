use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response as HttpResponse};
use http_body::Body as HttpBody;
use palisade_core::BoxError;
use pin_project_lite::pin_project;
use serde::de::DeserializeOwned;
use tower_service::Service;

use crate::{Body, Error, Json, ResponseFuture};

pin_project! {
    /// The future of one of many requests, its body included.
    pub struct FetchJson<S, F, T, B> {
        #[pin]
        stage: Stage<S, F, T, B>,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<S, F, T, B> {
        // There is no answer yet.
        Sent { #[pin] future: ResponseFuture<S, F> },
        // Its body is read.
        Answered { #[pin] json: Json<T, B> },
    }
}

impl<S, F, T, B> FetchJson<S, F, T, B> {
    pub(crate) fn new(future: ResponseFuture<S, F>) -> Self {
        Self { stage: Stage::Sent { future } }
    }
}

impl<S, T, B> Future for FetchJson<S, S::Future, T, B>
where
    S: Service<Request<Body>, Response = HttpResponse<B>, Error: Into<BoxError>>,
    T: DeserializeOwned,
    B: HttpBody<Error: Into<BoxError>>,
{
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let response = match this.stage.as_mut().project() {
                StageProj::Sent { future } => ready!(future.poll(cx))?,
                StageProj::Answered { json } => return json.poll(cx),
            };
            this.stage.set(Stage::Answered { json: response.json() });
        }
    }
}

impl<S, F, T, B> fmt::Debug for FetchJson<S, F, T, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchJson").finish_non_exhaustive()
    }
}

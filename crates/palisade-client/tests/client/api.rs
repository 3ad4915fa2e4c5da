use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use palisade_client::{Body, ClientOf};
use palisade_core::BoxError;
use tower_service::Service;

/// Answers all requests by a function, and keeps them.
#[derive(Clone)]
pub(crate) struct Api<F> {
    answer: F,
    requests: Arc<Mutex<Vec<Request<Body>>>>,
}

impl<F> Api<F> {
    /// The last request.
    pub(crate) fn last(&self) -> Request<Body> {
        self.requests.lock().unwrap().pop().unwrap()
    }

    /// How many requests came, but for those that were taken.
    pub(crate) fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

impl<F: FnMut(&Request<Body>) -> Response<Body>> Service<Request<Body>> for Api<F> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let response = (self.answer)(&request);
        self.requests.lock().unwrap().push(request);
        ready(Ok(response))
    }
}

/// A client of an API that answers by a function.
pub(crate) fn api<F>(answer: F) -> ClientOf<Api<F>>
where
    F: FnMut(&Request<Body>) -> Response<Body> + Clone,
{
    let api = Api { answer, requests: Arc::default() };
    ClientOf::from_service(api).base_url("https://api.example/v1")
}

/// An answer with a status, a type and a body.
pub(crate) fn answer(status: u16, content_type: &str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    if !content_type.is_empty() {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type.parse().unwrap());
    }
    response
}

/// A body in pieces, of which the last may be an error.
pub(crate) fn pieces(pieces: Vec<Result<&'static [u8], &'static str>>) -> Body {
    let frames = pieces.into_iter().map(|piece| match piece {
        Ok(bytes) => Ok(http_body::Frame::data(Bytes::from_static(bytes))),
        Err(text) => Err(BoxError::from(text)),
    });
    Body::stream(StreamBody::new(futures_util::stream::iter(frames)))
}

/// What a request would send.
pub(crate) async fn sent(request: Request<Body>) -> Vec<u8> {
    request.into_body().collect().await.unwrap().to_bytes().into()
}

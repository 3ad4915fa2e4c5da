use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, request::Parts};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use palisade_core::BoxError;
use tokio::time::Instant;
use tower::util::BoxCloneSyncService;
use tower_service::Service;

/// What the upstream does with one request.
pub(crate) enum Answer {
    Respond(Response<Full<Bytes>>),
    Fail(BoxError),
    Hang,
}

/// A request as it arrived.
pub(crate) struct Seen {
    pub(crate) after: Duration,
    pub(crate) head: Parts,
    pub(crate) body: Bytes,
}

/// An inner service that answers by script, then with 200, and writes down
/// what arrives.
#[derive(Clone)]
pub(crate) struct Upstream {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    start: Instant,
}

pub(crate) type Client<B> = BoxCloneSyncService<Request<B>, Response<Full<Bytes>>, BoxError>;

impl Upstream {
    pub(crate) fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self {
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            seen: Arc::default(),
            start: Instant::now(),
        }
    }

    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// When each request arrived, in milliseconds.
    pub(crate) fn times(&self) -> Vec<u128> {
        self.take().iter().map(|seen| seen.after.as_millis()).collect()
    }
}

impl<B> Service<Request<B>> for Upstream
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let upstream = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let answer = upstream.answers.lock().unwrap().pop_front();
            let body = body.collect().await.map_err(Into::into)?.to_bytes();
            upstream.seen.lock().unwrap().push(Seen {
                after: upstream.start.elapsed(),
                head,
                body,
            });
            match answer {
                None => Ok(Response::new(Full::default())),
                Some(Answer::Respond(response)) => Ok(response),
                Some(Answer::Fail(error)) => Err(error),
                Some(Answer::Hang) => std::future::pending().await,
            }
        })
    }
}

pub(crate) fn status(status: u16) -> Answer {
    with(status, &[])
}

pub(crate) fn with(status: u16, fields: &[(&'static str, &str)]) -> Answer {
    let mut response = Response::new(Full::from("it failed"));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in fields {
        response.headers_mut().append(*name, value.parse().unwrap());
    }
    Answer::Respond(response)
}

pub(crate) fn error(kind: io::ErrorKind) -> Answer {
    Answer::Fail(io::Error::from(kind).into())
}

pub(crate) fn request(method: &str) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri("https://api.example/users?page=2")
        .header("accept", "application/json")
        .header("tag", "one")
        .header("tag", "two")
        .body(Full::from("the body"))
        .unwrap()
}

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

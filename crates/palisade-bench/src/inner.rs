use std::{
    convert::Infallible,
    future::{Ready, ready},
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower_service::Service;

pub type Body = Full<Bytes>;

/// Answers 200 at once.
#[derive(Clone, Copy, Debug)]
pub struct Healthy;

/// Answers 200 at once, as a server of axum does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served;

/// Answers 200 when it is asked for the second time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Later;

/// The answer of [`Later`].
#[derive(Debug)]
pub(crate) struct LaterFuture {
    asked: bool,
}

/// Answers 503 and 200 in turn, at once. Clones take turns together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flaky {
    calls: Arc<AtomicU64>,
}

/// Answers 200 until it is told to go down, and then 503. Clones go down together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mortal {
    down: Arc<AtomicBool>,
}

impl Mortal {
    pub(crate) fn go_down(&self) {
        self.down.store(true, Ordering::Relaxed);
    }
}

impl Service<Request<Body>> for Healthy {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<Body>) -> Self::Future {
        ready(Ok(answer(StatusCode::OK)))
    }
}

impl<B> Service<Request<B>> for Later {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = LaterFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<B>) -> LaterFuture {
        LaterFuture { asked: false }
    }
}

impl Future for LaterFuture {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if mem::replace(&mut self.asked, true) {
            return Poll::Ready(Ok(answer(StatusCode::OK)));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Service<Request<Body>> for Served {
    type Response = Response<axum::body::Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<Body>) -> Self::Future {
        ready(Ok(answer(StatusCode::OK).map(axum::body::Body::new)))
    }
}

impl Service<Request<Body>> for Flaky {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<Body>) -> Self::Future {
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        let status = match calls % 2 {
            0 => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::OK,
        };
        ready(Ok(answer(status)))
    }
}

impl Service<Request<Body>> for Mortal {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<Body>) -> Self::Future {
        let status = match self.down.load(Ordering::Relaxed) {
            true => StatusCode::SERVICE_UNAVAILABLE,
            false => StatusCode::OK,
        };
        ready(Ok(answer(status)))
    }
}

fn answer(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::new(Bytes::from_static(br#"{"items":[]}"#)));
    *response.status_mut() = status;
    response
}

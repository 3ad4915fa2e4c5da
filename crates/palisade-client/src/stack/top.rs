use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response};
use palisade_core::{BoxError, Now};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::StackBody;
use crate::{Body, ResponseBody, erased::Answer};

/// Makes the bodies that callers see.
pub(super) trait Finish<B> {
    fn finish(&self, body: B, idle: Option<Duration>) -> ResponseBody;
}

/// Of those that have passed all switches.
#[derive(Clone, Copy)]
pub(super) struct AsStack;

impl Finish<StackBody> for AsStack {
    #[inline(always)]
    fn finish(&self, body: StackBody, idle: Option<Duration>) -> ResponseBody {
        ResponseBody::stack(body, idle)
    }
}

/// Gives responses the type of body that callers see, and has all layers ask for the
/// time together.
#[derive(Clone)]
pub(crate) struct Top<S, F> {
    inner: S,
    finish: F,
    body_idle: Option<Duration>,
}

impl<S, F> Top<S, F> {
    pub(super) fn new(inner: S, finish: F, body_idle: Option<Duration>) -> Self {
        Self { inner, finish, body_idle }
    }
}

impl<S, B, F> Service<Request<Body>> for Top<S, F>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    F: Finish<B> + Copy,
{
    type Response = Response<ResponseBody>;
    type Error = BoxError;
    type Future = TopFuture<S, F>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let future = Now::share(|| self.inner.call(request));
        TopFuture { future, finish: self.finish, body_idle: self.body_idle }
    }
}

pin_project! {
    pub(crate) struct TopFuture<S, F>
    where
        S: Service<Request<Body>>,
    {
        #[pin]
        future: S::Future,
        finish: F,
        body_idle: Option<Duration>,
    }
}

impl<S, B, F> Future for TopFuture<S, F>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    F: Finish<B>,
{
    type Output = Answer<ResponseBody>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(Now::share(|| this.future.poll(cx)))?;
        Poll::Ready(Ok(response.map(|body| this.finish.finish(body, *this.body_idle))))
    }
}

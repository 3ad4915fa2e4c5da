use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::Body;
use palisade_core::Classify;
use pin_project_lite::pin_project;

use crate::{ResponseBody, layer::Rules, span::RequestSpan};

pin_project! {
    /// The future of [`Traced`](crate::Traced).
    ///
    /// # Cancel safety
    ///
    /// Dropped, it drops the inner service's future, and the span ends as
    /// cancelled.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, T, P, C> {
        #[pin]
        future: F,
        span: RequestSpan,
        rules: Arc<Rules<T, P, C>>,
    }
}

impl<F, T, P, C> ResponseFuture<F, T, P, C> {
    pub(crate) fn new(future: F, span: RequestSpan, rules: Arc<Rules<T, P, C>>) -> Self {
        Self { future, span, rules }
    }
}

impl<F, B, Err, T, P, C> Future for ResponseFuture<F, T, P, C>
where
    F: Future<Output = Result<Response<B>, Err>>,
    B: Body,
    C: Classify<Response<B>, Err>,
{
    type Output = Result<Response<ResponseBody<B>>, Err>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let span = this.span;
        match ready!(span.work(|| this.future.poll(cx))) {
            Err(error) => {
                span.failed(|| this.rules.classify.kind(&error));
                Poll::Ready(Err(error))
            }
            Ok(response) => {
                let (context, rest) = span.answered(&response);
                Poll::Ready(Ok(response.map(|body| ResponseBody::new(body, context, rest))))
            }
        }
    }
}

impl<F, T, P, C> fmt::Debug for ResponseFuture<F, T, P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

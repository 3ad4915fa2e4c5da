use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::Body;
use palisade_core::Classify;
use pin_project_lite::pin_project;

use crate::{ResponseBody, call::Call, group::Verdict};

pin_project! {
    /// The future of [`Metered`](crate::Metered).
    ///
    /// # Cancel safety
    ///
    /// Dropped, it drops the inner service's future, and the request counts as
    /// cancelled.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, C> {
        #[pin]
        future: F,
        classify: C,
        call: Call,
    }
}

impl<F, C> ResponseFuture<F, C> {
    #[inline]
    pub(crate) fn new(future: F, classify: C, call: Call) -> Self {
        Self { future, classify, call }
    }
}

impl<F, B, Err, C> Future for ResponseFuture<F, C>
where
    F: Future<Output = Result<Response<B>, Err>>,
    B: Body,
    C: Classify<Response<B>, Err>,
{
    type Output = Result<Response<ResponseBody<B>>, Err>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.call.work(|| this.future.poll(cx)));
        let outcome = this.call.work(|| this.classify.classify(result.as_ref()));
        match result {
            Err(error) => {
                let kind = this.call.work(|| this.classify.kind(&error));
                this.call.failed(kind, Verdict::of(outcome));
                Poll::Ready(Err(error))
            }
            Ok(response) => {
                let empty = this.call.work(|| response.body().is_end_stream());
                let rest = this.call.answered(&response, Verdict::of(outcome), empty);
                Poll::Ready(Ok(response.map(|body| ResponseBody::new(body, rest))))
            }
        }
    }
}

impl<F, C> fmt::Debug for ResponseFuture<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

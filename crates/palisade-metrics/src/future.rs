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
    pub struct ResponseFuture<F, C, N> {
        #[pin]
        future: F,
        call: Call<C, N>,
    }
}

impl<F, C, N> ResponseFuture<F, C, N> {
    #[inline]
    pub(crate) fn new(future: F, call: Call<C, N>) -> Self {
        Self { future, call }
    }
}

impl<F, B, Err, C, N> Future for ResponseFuture<F, C, N>
where
    F: Future<Output = Result<Response<B>, Err>>,
    B: Body,
    C: Classify<Response<B>, Err>,
{
    type Output = Result<Response<ResponseBody<B>>, Err>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let call = this.call;
        let result = ready!(call.work(|_| this.future.poll(cx)));
        let outcome = call.work(|rules| Verdict::of(rules.classify.classify(result.as_ref())));
        match result {
            Err(error) => {
                let kind = call.work(|rules| rules.classify.kind(&error));
                call.failed(kind, outcome);
                Poll::Ready(Err(error))
            }
            Ok(response) => {
                let empty = call.work(|_| response.body().is_end_stream());
                let rest = call.answered(&response, outcome, empty);
                let rest = rest.map(|rest| (call.rules().keep_store(), rest));
                Poll::Ready(Ok(response.map(|body| ResponseBody::new(body, rest))))
            }
        }
    }
}

impl<F, C, N> fmt::Debug for ResponseFuture<F, C, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use opentelemetry::Context as SpanContext;
use palisade_body::{BodyEnd, Watch, WatchBody};
use palisade_core::ErrorKind;
use pin_project_lite::pin_project;

use crate::span::{Rest, within};

pin_project! {
    /// The response body of [`Traced`](crate::Traced): polls the inner one within
    /// the span of its request, and ends that when it ends.
    pub struct ResponseBody<B: Body> {
        #[pin]
        body: WatchBody<B, SpanEnd>,
        context: Option<SpanContext>,
    }
}

impl<B: Body> ResponseBody<B> {
    /// A body that ends what is left of a span.
    pub(crate) fn new(body: B, context: Option<SpanContext>, rest: Option<Rest>) -> Self {
        Self { body: WatchBody::new(body, SpanEnd { rest }), context }
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        within(this.context.as_ref(), || this.body.poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: Body> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("body", &self.body).finish_non_exhaustive()
    }
}

/// Ends once: `WatchBody` sees to that, as it tells of a drop as well.
struct SpanEnd {
    rest: Option<Rest>,
}

impl<E> Watch<E> for SpanEnd {
    fn on_end(self, end: BodyEnd<'_, E>) {
        let Some(rest) = self.rest else {
            return;
        };
        match end {
            // Whatever the transport calls it: the answer broke off.
            BodyEnd::Failed(_) => rest.end(Some(ErrorKind::Body)),
            BodyEnd::Panicked => rest.end(Some(ErrorKind::Panic)),
            // Who wants no more of a 404 does not read it.
            _ => rest.end(None),
        }
    }
}

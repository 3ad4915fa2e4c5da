use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use palisade_body::{BodyEnd, Watch, WatchBody};
use palisade_core::ErrorKind;
use pin_project_lite::pin_project;

use crate::{call::Rest, group::Verdict};

pin_project! {
    /// The response body of [`Metered`](crate::Metered): counts its bytes, and
    /// when it ends, its request.
    pub struct ResponseBody<B: Body> {
        #[pin]
        body: WatchBody<B, Meter>,
    }
}

impl<B: Body> ResponseBody<B> {
    /// A body that ends what is left of a request.
    #[inline]
    pub(crate) fn new(body: B, rest: Option<Rest>) -> Self {
        Self { body: WatchBody::new(body, Meter { rest }) }
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
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
        f.debug_struct("ResponseBody").field("body", &self.body).finish()
    }
}

/// Ends once: `WatchBody` sees to that, as it tells of a drop as well.
struct Meter {
    rest: Option<Rest>,
}

impl<E> Watch<E> for Meter {
    #[inline]
    fn on_data(&mut self, bytes: usize) {
        if let Some(rest) = &mut self.rest {
            rest.receive(bytes);
        }
    }

    #[inline]
    fn on_end(self, end: BodyEnd<'_, E>) {
        let Some(rest) = self.rest else { return };
        match end {
            BodyEnd::Complete => rest.end(false),
            // Whatever the transport calls it: the answer broke off.
            BodyEnd::Failed(_) => rest.fail(ErrorKind::Body, Verdict::TRANSIENT),
            BodyEnd::Panicked => rest.fail(ErrorKind::Panic, Verdict::FAILED),
            _ => rest.end(true),
        }
    }
}

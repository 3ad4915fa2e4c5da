use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use http::Response;
use http_body::{Body, Frame, SizeHint};
use palisade_body::{BodyEnd, Watch, WatchBody};
use pin_project_lite::pin_project;

use crate::{Fixed, LimitAlgorithm, Permit};

/// Until when a request is in flight: [`UntilBodyEnd`] or [`UntilHead`].
pub trait HoldPermit<Res, A: LimitAlgorithm> {
    /// The response of the service.
    type Response;

    /// Hands on a response, and gives the permit back by and by. A response to
    /// what was refused has none.
    fn respond(&self, response: Res, permit: Option<Permit<A>>) -> Self::Response;
}

/// A request is in flight until the body of its response has ended, failed, or
/// was dropped. The default.
///
/// A body that is [at its end](Body::is_end_stream) from the start, as after
/// HEAD, holds nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct UntilBodyEnd;

/// A request is in flight until its response is there. For what is no HTTP, and
/// for bodies that last as long as they like.
#[derive(Clone, Copy, Debug, Default)]
pub struct UntilHead;

impl<B: Body, A: LimitAlgorithm> HoldPermit<Response<B>, A> for UntilBodyEnd {
    type Response = Response<PermitBody<B, A>>;

    #[inline]
    fn respond(&self, response: Response<B>, permit: Option<Permit<A>>) -> Self::Response {
        response.map(|body| PermitBody { body: WatchBody::new(body, Holder { permit }) })
    }
}

impl<Res, A: LimitAlgorithm> HoldPermit<Res, A> for UntilHead {
    type Response = Res;

    #[inline]
    fn respond(&self, response: Res, _: Option<Permit<A>>) -> Res {
        response
    }
}

pin_project! {
    /// The response body of [`ConcurrencyLimit`](crate::ConcurrencyLimit): gives
    /// its permit back when it ends, fails, or is dropped.
    pub struct PermitBody<B: Body, A: LimitAlgorithm = Fixed> {
        #[pin]
        body: WatchBody<B, Holder<A>>,
    }
}

impl<B: Body, A: LimitAlgorithm> Body for PermitBody<B, A> {
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

impl<B: Body, A: LimitAlgorithm> fmt::Debug for PermitBody<B, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PermitBody").field("body", &self.body).finish()
    }
}

struct Holder<A: LimitAlgorithm> {
    permit: Option<Permit<A>>,
}

impl<E, A: LimitAlgorithm> Watch<E> for Holder<A> {
    fn on_end(self, _: BodyEnd<'_, E>) {
        drop(self.permit);
    }
}

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use http::Response;
use http_body::{Body, Frame, SizeHint};
use palisade_body::{BodyEnd, Watch, WatchBody};
use palisade_core::Outcome;
use pin_project_lite::pin_project;

use crate::Permit;

/// When a call that succeeds so far is counted: [`AtHead`] or [`AtBodyEnd`].
pub trait RecordAt<Res> {
    /// Whether a response is only the beginning.
    const LATER: bool;
    /// The response of the service.
    type Response;

    /// Hands on a response, and counts the call by and by, if it was not yet.
    fn respond(&self, response: Res, permit: Option<Permit>) -> Self::Response;
}

/// Counts a call when its response is there. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtHead;

impl<Res> RecordAt<Res> for AtHead {
    const LATER: bool = false;
    type Response = Res;

    #[inline(always)]
    fn respond(&self, response: Res, _: Option<Permit>) -> Res {
        response
    }
}

/// Counts a call when the body of its response has ended.
///
/// A body that breaks off, or panics, makes the call a failure. One that is
/// dropped before its end counts by its head, or as a failure if the policy for
/// [cancelled calls](crate::OnCancel) says so. A response that is a failure by
/// its head is counted at once. What a call takes is taken to the end of the
/// body, so leave slow calls and half-open ones the time.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtBodyEnd;

impl<B: Body> RecordAt<Response<B>> for AtBodyEnd {
    const LATER: bool = true;
    type Response = Response<ResponseBody<B>>;

    fn respond(&self, response: Response<B>, permit: Option<Permit>) -> Self::Response {
        response.map(|body| ResponseBody { body: WatchBody::new(body, Recorder { permit }) })
    }
}

pin_project! {
    /// The response body of a [`CircuitBreaker`](crate::CircuitBreaker) that
    /// counts [at its end](AtBodyEnd).
    pub struct ResponseBody<B: Body> {
        #[pin]
        body: WatchBody<B, Recorder>,
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

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

struct Recorder {
    permit: Option<Permit>,
}

impl<E> Watch<E> for Recorder {
    fn on_end(self, end: BodyEnd<'_, E>) {
        let Some(permit) = self.permit else {
            return;
        };
        match end {
            BodyEnd::Complete => permit.record(Outcome::Success),
            BodyEnd::Failed(_) => permit.record(Outcome::Transient),
            BodyEnd::Panicked => permit.panicked(),
            _ => permit.let_go(Outcome::Success),
        }
    }
}

//! A call of the inner service, and then the body of its response.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use palisade_core::BoxError;
use pin_project_lite::pin_project;
use tower_service::Service;

pin_project! {
    #[project = UpstreamProj]
    pub(crate) enum Upstream<S, Q, F, B> {
        // Waiting for the inner service.
        Ready { service: S, request: Option<Request<Q>> },
        // The inner service works on it.
        Called { #[pin] future: F },
        // The head has come.
        Body { #[pin] body: B },
        Over,
    }
}

impl<S, Q, F, B> Upstream<S, Q, F, B>
where
    S: Service<Request<Q>, Response = Response<B>, Future = F>,
    F: Future<Output = Result<Response<B>, S::Error>>,
{
    pub(crate) fn new(service: S, request: Request<Q>) -> Self {
        Self::Ready { service, request: Some(request) }
    }

    pub(crate) fn poll_response(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<B>, S::Error>> {
        loop {
            match self.as_mut().project() {
                UpstreamProj::Ready { service, request } => {
                    if let Err(error) = ready!(service.poll_ready(cx)) {
                        self.set(Self::Over);
                        return Poll::Ready(Err(error));
                    }
                    let request = request.take().expect("it is sent once");
                    let future = service.call(request);
                    self.set(Self::Called { future });
                }
                UpstreamProj::Called { future } => {
                    let result = ready!(future.poll(cx));
                    self.set(Self::Over);
                    return Poll::Ready(result);
                }
                UpstreamProj::Body { .. } | UpstreamProj::Over => return Poll::Pending,
            }
        }
    }
}

impl<S, Q, F, B: Body> Upstream<S, Q, F, B> {
    pub(crate) fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>>
    where
        B::Error: Into<BoxError>,
    {
        let UpstreamProj::Body { body } = self.project() else {
            return Poll::Ready(None);
        };
        let frame = ready!(body.poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map(to_bytes).map_err(Into::into)))
    }

    pub(crate) fn hint(&self) -> (bool, SizeHint) {
        match self {
            Self::Body { body } => (body.is_end_stream(), body.size_hint()),
            _ => (false, SizeHint::new()),
        }
    }
}

/// Costs nothing where the data are `Bytes` already.
pub(crate) fn to_bytes<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
}

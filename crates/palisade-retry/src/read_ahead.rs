mod body;
mod error;

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response, response};
use http_body::Body;
use palisade_core::{BoxError, Trailers};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

pub use self::{body::ReadAheadBody, error::BodyLost};

/// Reads the body of a response before the response is returned, up to a
/// number of bytes.
///
/// A response counts as an answer when its head is there, so a body that
/// breaks off later is not retried. With this layer inside a
/// [`RetryLayer`](crate::RetryLayer) it is: the failure becomes the error
/// [`BodyLost`] of the service. A body that is longer than `cap` is passed on
/// from there as it comes; a frame counts as 64 bytes at least.
///
/// A response is returned when it is read, so one that never ends (server-sent
/// events, a long poll) is held back until there are more than `cap` bytes of
/// it: leave such requests out.
///
/// Trailers that were read ahead are put in the extensions as [`Trailers`] too,
/// so that [`HttpClassify::grpc`](palisade_core::HttpClassify::grpc) sees them.
///
/// ```
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Full};
/// use palisade_retry::{ReadAheadLayer, RetryLayer};
/// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let client = ServiceBuilder::new()
///     .layer(RetryLayer::http())
///     .layer(ReadAheadLayer::new(64 * 1024))
///     .service(service_fn(|_: Request<String>| async {
///         Ok::<_, BoxError>(Response::new(Full::<bytes::Bytes>::from("whole")))
///     }));
///
/// let response = client.oneshot(Request::new(String::new())).await?;
/// assert_eq!(response.into_body().collect().await?.to_bytes(), "whole");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct ReadAheadLayer {
    cap: usize,
}

impl ReadAheadLayer {
    /// Reads up to `cap` bytes ahead.
    pub fn new(cap: usize) -> Self {
        Self { cap }
    }
}

impl<S> Layer<S> for ReadAheadLayer {
    type Service = ReadAhead<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ReadAhead { inner, cap: self.cap }
    }
}

/// Made by [`ReadAheadLayer`].
#[derive(Clone, Copy, Debug)]
pub struct ReadAhead<S> {
    inner: S,
    cap: usize,
}

impl<S, B, ResB> Service<Request<B>> for ReadAhead<S>
where
    S: Service<Request<B>, Response = Response<ResB>, Error: Into<BoxError>>,
    ResB: Body<Error: Into<BoxError>>,
{
    type Response = Response<ReadAheadBody<ResB>>;
    type Error = BoxError;
    type Future = ReadAheadFuture<S::Future, ResB>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ReadAheadFuture { stage: Stage::Head { future: self.inner.call(request) }, cap: self.cap }
    }
}

pin_project! {
    /// The future of [`ReadAhead`].
    #[must_use = "futures do nothing unless polled"]
    pub struct ReadAheadFuture<F, B: Body> {
        #[pin]
        stage: Stage<F, B>,
        cap: usize,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<F, B: Body> {
        // The inner service works on the head.
        Head { #[pin] future: F },
        // The head is there, and the body is read.
        Reading { head: Option<response::Parts>, body: ReadAheadBody<B>, read: usize },
    }
}

impl<F, B, E> Future for ReadAheadFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Error: Into<BoxError>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<ReadAheadBody<B>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.stage.as_mut().project() {
                StageProj::Head { future } => {
                    let response = ready!(future.poll(cx)).map_err(Into::into)?;
                    let (head, body) = response.into_parts();
                    let body = ReadAheadBody::new(body);
                    this.stage.set(Stage::Reading { head: Some(head), body, read: 0 });
                }
                StageProj::Reading { head, body, read } => {
                    let extensions = head.as_mut().map(|head| &mut head.extensions);
                    let extensions = extensions.expect("polled after it was ready");
                    let result = ready!(body.poll_read(cx, read, *this.cap, |trailers| {
                        extensions.insert(Trailers(trailers.clone()));
                    }));
                    result.map_err(BodyLost::new)?;
                    let head = head.take().expect("polled after it was ready");
                    let body = mem::replace(body, ReadAheadBody::empty());
                    return Poll::Ready(Ok(Response::from_parts(head, body)));
                }
            }
        }
    }
}

impl<F, B: Body> fmt::Debug for ReadAheadFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadAheadFuture").finish_non_exhaustive()
    }
}

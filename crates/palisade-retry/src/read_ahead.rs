use std::{
    collections::VecDeque,
    error::Error,
    fmt, io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http::{Request, Response, response};
use http_body::{Body, Frame, SizeHint};
use palisade_core::{BoxError, ErrorKind, Trailers};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

/// Reads the body of a response before the response is returned, up to a
/// number of bytes.
///
/// A response counts as an answer when its head is there, so a body that
/// breaks off later is not retried. With this layer inside a
/// [`RetryLayer`](crate::RetryLayer) it is: the failure becomes the error
/// [`BodyLost`] of the service. A body that is longer than `cap` is passed on
/// from there as it comes.
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
        ReadAhead {
            inner,
            cap: self.cap,
        }
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
        ReadAheadFuture {
            stage: Stage::Head {
                future: self.inner.call(request),
            },
            cap: self.cap,
        }
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
                    this.stage.set(Stage::Reading {
                        head: Some(head),
                        body,
                        read: 0,
                    });
                }
                StageProj::Reading { head, body, read } => {
                    while let Some(rest) = body.rest.as_mut().filter(|_| *read <= *this.cap) {
                        let Some(frame) = ready!(rest.as_mut().poll_frame(cx)) else {
                            body.rest = None;
                            break;
                        };
                        let frame = frame.map_err(BodyLost::new)?;
                        *read += frame.data_ref().map_or(0, Buf::remaining);
                        if let (Some(trailers), Some(head)) = (frame.trailers_ref(), head.as_mut())
                        {
                            head.extensions.insert(Trailers(trailers.clone()));
                        }
                        body.push(frame);
                    }
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

/// The body of [`ReadAhead`]'s responses: what was read ahead, and the rest.
pub struct ReadAheadBody<B: Body> {
    front: VecDeque<Frame<B::Data>>,
    // Boxed, so that it can be moved although it was polled.
    rest: Option<Pin<Box<B>>>,
}

// Nothing is pinned in here but what is boxed.
impl<B: Body> Unpin for ReadAheadBody<B> {}

impl<B: Body> ReadAheadBody<B> {
    fn new(body: B) -> Self {
        let rest = (!body.is_end_stream()).then(|| Box::pin(body));
        Self {
            rest,
            ..Self::empty()
        }
    }

    fn empty() -> Self {
        Self {
            front: VecDeque::new(),
            rest: None,
        }
    }

    fn push(&mut self, frame: Frame<B::Data>) {
        self.front.push_back(frame);
        self.rest.take_if(|rest| rest.is_end_stream());
    }
}

impl<B: Body> Body for ReadAheadBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        if let Some(frame) = self.front.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match &mut self.rest {
            Some(rest) => rest.as_mut().poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.front.is_empty() && self.rest.as_ref().is_none_or(|rest| rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let front: usize = self
            .front
            .iter()
            .filter_map(Frame::data_ref)
            .map(Buf::remaining)
            .sum();
        let front = front as u64;
        let rest = match &self.rest {
            Some(rest) => rest.size_hint(),
            None => SizeHint::with_exact(0),
        };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(front));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(front)) {
            hint.set_upper(upper);
        }
        hint
    }
}

impl<B: Body> fmt::Debug for ReadAheadBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadAheadBody").finish_non_exhaustive()
    }
}

/// The body of a response broke off while it was read ahead.
#[derive(Debug)]
pub struct BodyLost {
    source: BoxError,
}

impl BodyLost {
    fn new(error: impl Into<BoxError>) -> Self {
        let error = error.into();
        // A failure that nobody knows is taken for a connection that closed.
        let source = match ErrorKind::of(&*error) {
            ErrorKind::Other => io::Error::new(io::ErrorKind::UnexpectedEof, error).into(),
            _ => error,
        };
        Self { source }
    }
}

impl fmt::Display for BodyLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("body of the response broke off")
    }
}

impl Error for BodyLost {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

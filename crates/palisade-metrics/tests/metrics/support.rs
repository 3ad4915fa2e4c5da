use std::{
    collections::VecDeque,
    io,
    marker::PhantomPinned,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use palisade_core::ErrorKind;
use palisade_metrics::{Metered, Registry, Requests};
use palisade_testkit::{Answer, Payload, Probe, ProbeHandle, ProbePlan};
use pin_project_lite::pin_project;
use tower::{Layer, Service, service_fn};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) struct Api {
    pub(crate) metrics: Registry,
    pub(crate) probe: ProbeHandle,
    pub(crate) client: Metered<Probe>,
}

impl Api {
    pub(crate) fn new(plan: ProbePlan) -> Self {
        let metrics = Registry::new();
        let probe = ProbeHandle::new();
        probe.set(plan);
        let client = metrics.attempts().layer(probe.probe());
        Self { metrics, probe, client }
    }

    pub(crate) fn attempts(&self) -> Requests {
        self.metrics.snapshot().attempts
    }

    /// One ended: with this status, with this kind of error.
    pub(crate) fn check(&self, status: Option<u16>, error: Option<ErrorKind>) {
        let attempts = self.attempts();
        assert_eq!((attempts.count(), attempts.in_flight()), (1, 0));
        let results: Vec<_> = attempts.groups.iter().flat_map(|group| &group.results).collect();
        let result = results.iter().find(|result| result.times.count() == 1).unwrap();
        assert_eq!(result.status, status);
        assert_eq!(result.error.as_deref(), error.map(ErrorKind::as_str));
    }
}

pub(crate) fn answers(answer: Answer) -> ProbePlan {
    ProbePlan { answer, ..ProbePlan::default() }
}

pub(crate) fn pays(payload: Payload) -> ProbePlan {
    ProbePlan { payload, ..ProbePlan::default() }
}

/// What a client is called with.
pub(crate) type Call = Request<Full<Bytes>>;

pub(crate) fn request(method: &str, uri: &str) -> Call {
    Request::builder().method(method).uri(uri).body(Full::default()).unwrap()
}

pin_project! {
    /// A body of these frames, one with each poll. It is not `Unpin`.
    pub(crate) struct Frames {
        left: VecDeque<io::Result<Frame<Bytes>>>,
        // Whether it says how much there is, and that it is at its end.
        tells: bool,
        #[pin]
        pinned: PhantomPinned,
    }
}

impl Frames {
    pub(crate) fn new(frames: impl IntoIterator<Item = io::Result<Frame<Bytes>>>) -> Self {
        Self { left: frames.into_iter().collect(), tells: false, pinned: PhantomPinned }
    }

    /// One that knows its length, as with `Content-Length`.
    pub(crate) fn sized(mut self) -> Self {
        self.tells = true;
        self
    }
}

pub(crate) fn data(bytes: &'static str) -> io::Result<Frame<Bytes>> {
    Ok(Frame::data(Bytes::from_static(bytes.as_bytes())))
}

pub(crate) fn trailers() -> io::Result<Frame<Bytes>> {
    Ok(Frame::trailers(HeaderMap::new()))
}

pub(crate) fn broken() -> io::Result<Frame<Bytes>> {
    Err(io::ErrorKind::ConnectionReset.into())
}

impl Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(self.project().left.pop_front())
    }

    fn is_end_stream(&self) -> bool {
        self.tells && self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let data = self.left.iter().flatten().filter_map(Frame::data_ref);
        let len = data.map(|data| data.len() as u64).sum();
        if self.tells { SizeHint::with_exact(len) } else { SizeHint::default() }
    }
}

/// A service that answers with what this makes.
pub(crate) fn answers_with<E, F>(
    answer: F,
) -> impl Service<Call, Response = Response<Frames>, Error = E> + Clone
where
    F: Fn() -> Result<Response<Frames>, E> + Clone,
{
    service_fn(move |_: Call| std::future::ready(answer()))
}

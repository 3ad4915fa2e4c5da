//! The inner service that a contract is checked with.

mod body;
mod handle;
mod message;
mod plan;

use std::{
    error::Error,
    fmt,
    future::Future,
    marker::PhantomData,
    panic,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use tower_service::Service;

use self::handle::{Kind, Live, Permit, uncounted};

pub use self::{
    body::ProbeBody,
    handle::ProbeHandle,
    message::probe_request,
    plan::{Answer, Offence, Pace, Payload, ProbePlan},
};
pub(crate) use self::{
    message::{Mark, NUMBER, enrich, rich_request},
    plan::{CHUNKS, Place, TRAILER},
};

/// What a [`Probe`] is called with.
pub type ProbeRequest = Request<Full<Bytes>>;

/// A probe that is neither `Send` nor `Sync`, and its future and body are neither.
pub type LocalProbe = Probe<ProbeError, Rc<()>>;

/// A service that does what its [`ProbeHandle`] is told, and sees whether it is used as tower asks.
///
/// A clone is not ready, whatever its original is: each instance must be polled before it is called, and once per
/// call. `E` is the type of the errors, [`ProbeError`] or [`BoxError`](palisade_core::BoxError); `M` only decides the auto traits.
///
/// # Examples
///
/// ```
/// use palisade_testkit::{Answer, ProbePlan, Probe, ProbeError, ProbeHandle, probe_request};
/// use tower::{Service, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let handle = ProbeHandle::new();
/// let mut probe: Probe = handle.probe();
///
/// handle.set(ProbePlan { answer: Answer::Fails, ..ProbePlan::default() });
/// let error = probe.ready().await.unwrap().call(probe_request(1)).await.unwrap_err();
/// assert_eq!(error, ProbeError::Answer);
///
/// // Not polled since.
/// drop(probe.call(probe_request(2)));
/// assert_eq!(handle.offences().len(), 1);
/// # }
/// ```
pub struct Probe<E = ProbeError, M = ()> {
    handle: ProbeHandle,
    id: u64,
    ready: bool,
    called: bool,
    waited: u32,
    permit: Option<Permit>,
    _live: Live,
    types: PhantomData<fn() -> E>,
    marker: PhantomData<M>,
}

impl<E, M> Probe<E, M> {
    fn new(handle: &ProbeHandle) -> Self {
        Self {
            handle: handle.clone(),
            id: handle.next_id(),
            ready: false,
            called: false,
            waited: 0,
            permit: None,
            _live: Live::new(handle, Kind::Instance),
            types: PhantomData,
            marker: PhantomData,
        }
    }
}

impl<E: From<ProbeError>, M: Unpin> Service<ProbeRequest> for Probe<E, M> {
    type Response = Response<ProbeBody<M>>;
    type Error = E;
    type Future = ProbeFuture<E, M>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        self.handle.at_work(Place::Readiness);
        if self.ready {
            return Poll::Ready(Ok(()));
        }
        let plan = self.handle.plan();
        ready!(self.handle.wait(plan.ready, self.id, &mut self.waited, cx));
        if plan.ready_fails {
            return Poll::Ready(Err(uncounted(|| E::from(ProbeError::Readiness))));
        }
        self.permit = ready!(self.handle.take_permit(self.id, cx));
        self.ready = true;
        self.called = false;
        self.waited = 0;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: ProbeRequest) -> ProbeFuture<E, M> {
        self.handle.at_work(Place::Call);
        if !self.ready {
            self.handle.report(match self.called {
                true => Offence::CalledTwice,
                false => Offence::CalledUnready,
            });
        }
        self.ready = false;
        self.called = true;
        let permit = self.permit.take();
        let number = self.handle.count_call(&request);
        if self.handle.plan().answer == Answer::PanicsInCall {
            unwind();
        }
        ProbeFuture {
            handle: self.handle.clone(),
            id: self.handle.next_id(),
            number,
            waited: 0,
            echo: uncounted(|| request.headers().get(NUMBER).cloned()),
            finished: false,
            _permit: permit,
            _live: Live::new(&self.handle, Kind::Future),
            types: PhantomData,
            marker: PhantomData,
        }
    }
}

impl<E, M> Clone for Probe<E, M> {
    fn clone(&self) -> Self {
        Self::new(&self.handle)
    }
}

impl<E, M> fmt::Debug for Probe<E, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").field("ready", &self.ready).finish_non_exhaustive()
    }
}

/// The future of a [`Probe`]. Holds the probe's permit until it is dropped.
pub struct ProbeFuture<E = ProbeError, M = ()> {
    handle: ProbeHandle,
    id: u64,
    number: u64,
    waited: u32,
    echo: Option<HeaderValue>,
    finished: bool,
    _permit: Option<Permit>,
    _live: Live,
    types: PhantomData<fn() -> E>,
    marker: PhantomData<M>,
}

impl<E: From<ProbeError>, M: Unpin> Future for ProbeFuture<E, M> {
    type Output = Result<Response<ProbeBody<M>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.handle.at_work(Place::Future);
        assert!(!this.finished, "the inner future was polled after it had finished");
        let plan = this.handle.plan();
        let pace = plan.pace.of_call(this.number);
        ready!(this.handle.wait(pace, this.id, &mut this.waited, cx));
        this.finished = true;
        let status = match plan.answer {
            Answer::Responds => StatusCode::OK,
            Answer::Status(status) => status,
            Answer::Fails => return Poll::Ready(Err(uncounted(|| E::from(ProbeError::Answer)))),
            Answer::PanicsInCall | Answer::PanicsInPoll => unwind(),
        };
        let mut response = Response::new(ProbeBody::new(&this.handle, plan.payload));
        *response.status_mut() = status;
        if let Some(echo) = this.echo.take() {
            uncounted(|| response.headers_mut().insert(NUMBER, echo));
        }
        if plan.rich {
            uncounted(|| enrich(&mut response));
        }
        Poll::Ready(Ok(response))
    }
}

impl<E, M> fmt::Debug for ProbeFuture<E, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeFuture").finish_non_exhaustive()
    }
}

/// What goes wrong in a [`Probe`]; the variant tells where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProbeError {
    /// `poll_ready` failed.
    Readiness,
    /// The call failed.
    Answer,
    /// The response body failed.
    Body,
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Readiness => "the probe is not ready",
            Self::Answer => "the probe does not answer",
            Self::Body => "the probe's body broke off",
        })
    }
}

impl Error for ProbeError {}

/// The payload of a scripted panic.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ProbePanic;

/// Panics without the hook: a scripted panic is no news for the log.
fn unwind() -> ! {
    panic::resume_unwind(Box::new(ProbePanic))
}

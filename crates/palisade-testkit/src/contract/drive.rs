//! How the checks drive a service.

use std::{
    any::Any,
    cell::RefCell,
    fmt,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use http::{Response, StatusCode};
use http_body::Body;

use super::Subject;
use palisade_core::BoxError;

use crate::probe::{NUMBER, ProbeHandle, ProbePanic, ProbePlan, ProbeRequest, probe_request};

/// The sentence that tells what went wrong.
pub(super) type Verdict = Result<(), String>;

/// Longer than any back-off, and paused time makes it short.
pub(super) const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// Makes services over probes of their own.
pub(super) struct Fixture<'a, S> {
    service: &'a dyn Fn(&ProbeHandle) -> S,
    handles: RefCell<Vec<ProbeHandle>>,
}

impl<'a, S> Fixture<'a, S> {
    pub(super) fn new(service: &'a dyn Fn(&ProbeHandle) -> S) -> Self {
        let handles = RefCell::default();
        Self { service, handles }
    }

    /// A fresh layer's service over a fresh probe.
    pub(super) fn set_up(&self) -> (ProbeHandle, S) {
        let handle = ProbeHandle::new();
        self.handles.borrow_mut().push(handle.clone());
        let service = (self.service)(&handle);
        (handle, service)
    }

    /// How the probes were misused since the last time this was asked.
    pub(super) fn misuse(&self) -> Verdict {
        let offence = |handle: ProbeHandle| handle.offences().first().copied();
        match self.handles.take().into_iter().find_map(offence) {
            Some(offence) => Err(offence.to_string()),
            None => Ok(()),
        }
    }
}

/// Waits until the service is ready.
pub(super) async fn ready<S: Subject>(service: &mut S) -> Result<(), S::Error> {
    poll_fn(|cx| service.poll_ready(cx)).await
}

/// Waits for readiness, calls, and waits for the head of the response.
pub(super) async fn respond<S: Subject>(
    handle: &ProbeHandle,
    service: &mut S,
) -> Result<Response<S::Body>, BoxError> {
    ready(service).await.map_err(Into::into)?;
    let request = probe_request(handle.next_id());
    let number = request.headers()[NUMBER].clone();
    let response = service.call(request).await.map_err(Into::into)?;
    match response.headers().get(NUMBER) {
        Some(echo) if *echo == number => Ok(response),
        echo => Err(format!("call {number:?} got the answer of call {echo:?}").into()),
    }
}

/// Makes a whole call, to the end of its body.
pub(super) async fn converse<S: Subject>(
    handle: &ProbeHandle,
    service: &mut S,
) -> Result<StatusCode, BoxError> {
    let response = respond(handle, service).await?;
    let status = response.status();
    let mut body = pin!(response.into_body());
    while let Some(frame) = next_frame(&mut body).await {
        frame?;
    }
    Ok(status)
}

/// Makes a call with this request, to the end of its body, and allocates nothing for it.
pub(super) async fn exchange<S: Subject>(
    service: &mut S,
    request: ProbeRequest,
) -> Result<StatusCode, BoxError> {
    ready(service).await.map_err(Into::into)?;
    let response = service.call(request).await.map_err(Into::into)?;
    let status = response.status();
    let mut body = pin!(response.into_body());
    while let Some(frame) = next_frame(&mut body).await {
        frame?;
    }
    Ok(status)
}

/// The next frame of a body.
pub(super) async fn next_frame<B>(
    body: &mut Pin<&mut B>,
) -> Option<Result<http_body::Frame<B::Data>, BoxError>>
where
    B: Body<Error: Into<BoxError>>,
{
    let frame = poll_fn(|cx| body.as_mut().poll_frame(cx)).await?;
    Some(frame.map_err(Into::into))
}

/// Says whether nothing is left of an earlier call, these two can be called, and nothing is left of them.
pub(super) async fn is_unharmed<S: Subject>(handle: &ProbeHandle, mut services: [S; 2]) -> Verdict {
    settle().await;
    none_alive("inner futures", handle.futures())?;
    none_alive("inner bodies", handle.bodies())?;
    handle.set(ProbePlan::default());
    for service in &mut services {
        let next = succeeds(handle, service).await;
        next.map_err(|detail| format!("the next call {detail}"))?;
    }
    drop(services);
    settle().await;
    none_alive("inner services", handle.instances())
}

async fn succeeds<S: Subject>(handle: &ProbeHandle, service: &mut S) -> Verdict {
    match within(caught(converse(handle, service))).await {
        Some(Ok(Ok(StatusCode::OK))) => Ok(()),
        Some(Ok(Ok(status))) => Err(format!("comes to {status}")),
        Some(Ok(Err(error))) => Err(format!("fails: {error}")),
        Some(Err(panic)) => Err(panic.to_string()),
        None => Err("hangs".to_owned()),
    }
}

fn none_alive(what: &str, count: usize) -> Verdict {
    match count {
        0 => Ok(()),
        _ => Err(format!("{count} {what} stay alive")),
    }
}

/// Waits for a future unless it hangs.
pub(super) async fn within<F: Future>(future: F) -> Option<F::Output> {
    tokio::time::timeout(PATIENCE, future).await.ok()
}

/// Lets everybody run who was woken, and timers that are about to fire.
pub(super) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Polls once, for nobody.
pub(super) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Remembers that it was woken.
#[derive(Default)]
pub(super) struct Flag {
    woken: AtomicBool,
}

impl Flag {
    pub(super) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Acquire)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
    }
}

/// A panic that came out of the layer.
pub(super) struct Panic(Box<dyn Any + Send>);

impl Panic {
    /// Whether the inner service meant it.
    pub(super) fn is_scripted(&self) -> bool {
        self.0.is::<ProbePanic>()
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = match (self.0.downcast_ref::<&str>(), self.0.downcast_ref::<String>()) {
            (Some(message), _) => message,
            (_, Some(message)) => message.as_str(),
            _ if self.is_scripted() => "by the inner service",
            _ => "without a message",
        };
        write!(f, "panics: {message}")
    }
}

/// Waits for a future, or for its panic.
pub(super) async fn caught<F: Future>(future: F) -> Result<F::Output, Panic> {
    let mut future = pin!(future);
    poll_fn(|cx| match caught_now(|| future.as_mut().poll(cx)) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// Runs something that may panic.
pub(super) fn caught_now<T>(work: impl FnOnce() -> T) -> Result<T, Panic> {
    catch_unwind(AssertUnwindSafe(work)).map_err(Panic)
}

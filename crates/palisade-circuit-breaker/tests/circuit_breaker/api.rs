use std::time::Duration;

use http::{Response, StatusCode};
use http_body::Body;
use palisade_circuit_breaker::{
    Backoff, BackpressureLayer, CircuitBreakerHandle, CircuitBreakerLayer, HalfOpen, Jitter, Open,
    OpenReason, Single, Trip,
};
use palisade_core::{BoxError, HttpClassify, find_cause};
use palisade_testkit::{Answer, Pace, Probe, ProbeHandle, ProbePlan, ProbeRequest, probe_request};
use tokio::task::{JoinHandle, yield_now};
use tower::{Layer, Service, ServiceExt, util::BoxCloneSyncService};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Answered(u16),
    Failed,
    Refused(OpenReason),
}

pub(crate) const OK: End = End::Answered(200);
pub(crate) const TRIPPED: End = End::Refused(OpenReason::Tripped);
pub(crate) const PROBING: End = End::Refused(OpenReason::Probing);

type Client<B> = BoxCloneSyncService<ProbeRequest, Response<B>, BoxError>;

/// An API that does as it is told, behind a breaker.
pub(crate) struct Api<B> {
    pub(crate) probe: ProbeHandle,
    pub(crate) client: Client<B>,
}

impl<B: Body + Send + 'static> Api<B> {
    pub(crate) fn new<L>(layer: L) -> Self
    where
        L: Layer<Probe>,
        L::Service: Service<ProbeRequest, Response = Response<B>, Error: Into<BoxError>>,
        L::Service: Clone + Send + Sync + 'static,
        <L::Service as Service<ProbeRequest>>::Future: Send + 'static,
    {
        let probe = ProbeHandle::new();
        let service = layer.layer(probe.probe()).map_err(Into::into);
        Self { probe, client: BoxCloneSyncService::new(service) }
    }

    pub(crate) fn answers(&self, status: u16) {
        let answer = Answer::Status(StatusCode::from_u16(status).unwrap());
        self.does(answer);
    }

    pub(crate) fn does(&self, answer: Answer) {
        self.probe.set(ProbePlan { answer, ..ProbePlan::default() });
    }

    /// Has calls hang from now on, until they are released.
    pub(crate) fn hangs(&self) {
        self.probe.set(ProbePlan { pace: Pace::Held, ..ProbePlan::default() });
    }

    /// Has calls that hang end so.
    pub(crate) fn release(&self, status: u16) {
        self.answers(status);
        self.probe.release();
    }

    /// Opens it, and waits until it lets a call in.
    pub(crate) async fn recover(&self) {
        self.fail().await;
        pass(5 * SECOND).await;
    }

    pub(crate) async fn call(&self) -> End {
        end(self.client.clone().oneshot(probe_request(1)).await)
    }

    /// A call that goes on while others are made.
    pub(crate) async fn begin(&self) -> JoinHandle<End> {
        let client = self.client.clone();
        let call = tokio::spawn(async { end(client.oneshot(probe_request(1)).await) });
        yield_now().await;
        call
    }

    /// Calls until the breaker refuses, and says how many failed before.
    pub(crate) async fn fail(&self) -> u32 {
        self.answers(503);
        for failed in 0.. {
            if let End::Refused(_) = self.call().await {
                return failed;
            }
        }
        unreachable!("a thousand million failures open every breaker");
    }
}

/// An API behind one breaker, and that breaker.
pub(crate) fn watched<L, B>(layer: L) -> (Api<B>, CircuitBreakerHandle)
where
    L: Layer<Probe> + Watched,
    L::Service: Service<ProbeRequest, Response = Response<B>, Error: Into<BoxError>>,
    L::Service: Clone + Send + Sync + 'static,
    <L::Service as Service<ProbeRequest>>::Future: Send + 'static,
    B: Body + Send + 'static,
{
    let handle = layer.handle();
    (Api::new(layer), handle)
}

/// A layer with one breaker.
pub(crate) trait Watched {
    fn handle(&self) -> CircuitBreakerHandle;
}

impl<C, R, P> Watched for CircuitBreakerLayer<C, Single, R, P> {
    fn handle(&self) -> CircuitBreakerHandle {
        self.handle()
    }
}

impl<C, P> Watched for BackpressureLayer<C, P> {
    fn handle(&self) -> CircuitBreakerHandle {
        self.handle()
    }
}

fn end<B>(result: Result<Response<B>, BoxError>) -> End {
    match result {
        Ok(response) => End::Answered(response.status().as_u16()),
        Err(error) => match find_cause::<Open>(&*error) {
            Some(open) => End::Refused(open.reason()),
            None => End::Failed,
        },
    }
}

/// Opens after three failures in a row, for 5 seconds; one success closes it.
pub(crate) fn simple() -> CircuitBreakerLayer<HttpClassify> {
    CircuitBreakerLayer::http()
        .trip(Trip::consecutive(3))
        .open_for(Backoff::constant(5 * SECOND).jitter(Jitter::None))
        .half_open(HalfOpen::permits(1))
}

pub(crate) async fn pass(time: Duration) {
    tokio::time::advance(time).await;
}

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use palisade_circuit_breaker::{CircuitBreakerLayer, HalfOpen, Open, Trip};
use palisade_core::{BoxError, HttpClassify, find_cause};
use palisade_retry::{Backoff, Jitter, RetryInfo, RetryLayer, Rules, Stop};

pub(crate) const MS: Duration = Duration::from_millis(1);

/// hyper-util's client: a pool of HTTP/1.1 connections.
pub(crate) fn http1<B>() -> Client<HttpConnector, B>
where
    B: Body<Data: Send> + Send,
{
    Client::builder(TokioExecutor::new()).build(connector())
}

/// The same over HTTP/2 with prior knowledge: one connection.
pub(crate) fn http2<B>() -> Client<HttpConnector, B>
where
    B: Body<Data: Send> + Send,
{
    Client::builder(TokioExecutor::new()).http2_only(true).build(connector())
}

// A small packet that waits for the acknowledgement of another costs 40 milliseconds.
fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector
}

/// The layer as it is, but for the time it takes.
pub(crate) fn retry<M>() -> RetryLayer<Rules<HttpClassify<M>>> {
    RetryLayer::http().backoff(Backoff::constant(MS).jitter(Jitter::None))
}

/// How long a [`breaker`] stays open.
pub(crate) const OPEN_FOR: Duration = Duration::from_secs(5);

/// A breaker that opens at the third failure in a row, and closes after two probes.
pub(crate) fn breaker<M>() -> CircuitBreakerLayer<HttpClassify<M>> {
    CircuitBreakerLayer::http()
        .trip(Trip::consecutive(3))
        .open_for(Backoff::constant(OPEN_FOR).jitter(Jitter::None))
        .half_open(HalfOpen::permits(2))
}

/// The refusal of a breaker, if that is what became of a call.
pub(crate) fn refusal<T>(result: Result<T, impl Into<BoxError>>) -> Option<Open> {
    find_cause(&*result.err()?.into()).copied()
}

pub(crate) fn get(uri: Uri) -> Request<Full<Bytes>> {
    Request::get(uri).body(Full::default()).unwrap()
}

pub(crate) fn post(uri: Uri) -> Request<Full<Bytes>> {
    Request::post(uri).body(Full::from("the body")).unwrap()
}

pub(crate) fn put(uri: Uri) -> Request<Full<Bytes>> {
    Request::put(uri).body(Full::from("the body")).unwrap()
}

/// Reads a response to its end.
pub(crate) async fn read<B: Body>(response: Response<B>) -> Result<Bytes, B::Error> {
    Ok(response.into_body().collect().await?.to_bytes())
}

/// What the response says of its retries: the attempts, and why there were no more.
pub(crate) fn info<B>(response: &Response<B>) -> (u32, Option<Stop>) {
    let info = response.extensions().get::<RetryInfo>();
    info.map_or((1, None), |info| (info.attempts(), info.stop()))
}

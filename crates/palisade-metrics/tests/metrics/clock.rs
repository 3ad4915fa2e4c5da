//! The clock of the processor: the same times as the system's, near enough.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use palisade_core::BoxError;
use palisade_metrics::Registry;
use tower::{ServiceBuilder, ServiceExt, service_fn};

#[tokio::test]
async fn times_by_the_processor_are_true() {
    let busy = Duration::from_millis(20);
    let metrics = Registry::new().processor_clock();
    let api = service_fn(move |_: Request<Full<Bytes>>| async move {
        let begin = Instant::now();
        while begin.elapsed() < busy {}
        Ok::<_, BoxError>(Response::new(Full::new(Bytes::from_static(b"hello"))))
    });
    let client = ServiceBuilder::new().layer(metrics.attempts()).service(api);
    let begin = Instant::now();
    let response = client.oneshot(Request::new(Full::default())).await.unwrap();
    response.into_body().collect().await.unwrap();
    let most = begin.elapsed();

    let times = metrics.snapshot().attempts.times();
    let took = times.max().unwrap();
    // Two clocks of the same time, one of them calibrated.
    assert!(busy.mul_f64(0.98) <= took && took <= most.mul_f64(1.02), "{took:?} of {most:?}");
}

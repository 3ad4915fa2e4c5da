use std::{convert::Infallible, time::Duration};

use http::{Request, Response, header::RETRY_AFTER};
use palisade_circuit_breaker::CircuitBreakerLayer;
use palisade_core::{HttpClassify, Outcome};
use tower::{Layer, ServiceExt, service_fn};

use crate::api::{MS, SECOND, pass, simple};

type HttpLayer = CircuitBreakerLayer<HttpClassify>;

/// For how long it opens when the last failure says this.
async fn opens_for(layer: HttpLayer, hint: &'static str) -> Duration {
    let breaker = layer.handle();
    let api = service_fn(move |_: Request<()>| async move {
        let mut response = Response::new(());
        *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        response.headers_mut().insert(RETRY_AFTER, hint.parse().unwrap());
        Ok::<_, Infallible>(response)
    });
    let client = layer.layer(api);
    for _ in 0..3 {
        client.clone().oneshot(Request::new(())).await.unwrap();
    }
    breaker.snapshot().remaining.unwrap()
}

fn layer() -> HttpLayer {
    use palisade_circuit_breaker::{Backoff, Jitter, Trip};
    CircuitBreakerLayer::http()
        .trip(Trip::consecutive(3))
        .open_for(Backoff::constant(5 * SECOND).jitter(Jitter::None))
}

#[tokio::test(start_paused = true)]
async fn stays_open_for_as_long_as_the_server_asks() {
    assert_eq!(opens_for(layer(), "30").await, 30 * SECOND);
    assert_eq!(opens_for(layer(), "2").await, 5 * SECOND, "no less than the schedule says");
    assert_eq!(opens_for(layer(), "soon").await, 5 * SECOND);
    assert_eq!(opens_for(layer(), "86400").await, 60 * SECOND, "nobody is locked out for a day");
    assert_eq!(opens_for(layer().retry_after(600 * SECOND), "86400").await, 600 * SECOND);
    assert_eq!(opens_for(layer().retry_after(Duration::ZERO), "30").await, 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_permit_may_say_how_long() {
    let breaker = simple().handle();
    for _ in 0..3 {
        let permit = breaker.try_acquire().unwrap();
        permit.record_hint(Outcome::Transient, Some(30 * SECOND));
    }
    pass(MS).await;
    let open = breaker.try_acquire().unwrap_err();
    assert_eq!(open.retry_after(), Some(30 * SECOND - MS));
}

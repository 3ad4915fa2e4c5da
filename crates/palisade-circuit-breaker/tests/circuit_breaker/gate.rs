//! The gate of a breaker, outside of what makes calls wait.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::{Request, Response};
use palisade_circuit_breaker::{
    Backoff, CircuitBreakerLayer, HalfOpen, Jitter, Open, OpenReason, State, Trip,
};
use palisade_core::{BoxError, ByAuthority, HttpClassify, find_cause};
use palisade_testkit::{RecordingObserver, contract};
use tokio::time::advance;
use tower::{ServiceBuilder, ServiceExt, service_fn, util::MapRequestLayer};

use crate::api::SECOND;

/// A service that is down, behind a breaker, behind something that counts, behind a gate.
#[tokio::test(start_paused = true)]
async fn refuses_what_the_breaker_would_before_it_comes_to_what_is_between() {
    let between = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&between);
    let recorder = Arc::new(RecordingObserver::new());
    let breaker = CircuitBreakerLayer::http()
        .trip(Trip::consecutive(2))
        .open_for(Backoff::constant(5 * SECOND).jitter(Jitter::None))
        .half_open(HalfOpen::permits(1))
        .observer(recorder.clone())
        .keyed(ByAuthority);
    let down = service_fn(|_: Request<()>| async {
        Ok::<_, BoxError>(Response::builder().status(503).body(())?)
    });
    let client = ServiceBuilder::new()
        .layer(breaker.gate())
        .layer(MapRequestLayer::new(move |request: Request<()>| {
            counted.fetch_add(1, Ordering::Relaxed);
            request
        }))
        .layer(breaker.clone())
        .service(down);
    let call = async || {
        let request = Request::get("https://api.example/").body(()).unwrap();
        match client.clone().oneshot(request).await {
            Ok(response) => Ok(response.status().as_u16()),
            Err(error) => Err(find_cause::<Open>(&*error).unwrap().reason()),
        }
    };
    let state = || breaker.breakers().get(&Some("api.example".to_owned())).unwrap().state();

    for expected in [Ok(503), Ok(503), Err(OpenReason::Tripped), Err(OpenReason::Tripped)] {
        assert_eq!(call().await, expected);
    }
    assert_eq!(between.load(Ordering::Relaxed), 2);
    // The change, and two refusals, each told once.
    assert_eq!(recorder.take().len(), 3);

    // Its time is over: the gate lets the call on, and takes no permit from it.
    advance(5 * SECOND).await;
    assert_eq!(call().await, Ok(503));
    assert_eq!((between.load(Ordering::Relaxed), state()), (3, State::Open));

    breaker.breakers().get(&Some("api.example".to_owned())).unwrap().observe_only(true);
    assert_eq!(call().await, Ok(503));
}

#[tokio::test(start_paused = true)]
async fn keeps_the_contract() {
    contract!(CircuitBreakerLayer::<HttpClassify>::http().gate()).check().await;
}

use std::{sync::Arc, time::Duration};

use palisade_circuit_breaker::{
    CircuitBreakerLayer, HalfOpen, Keyed, OnCancel, Open, State, Trip, Window, respond_fn,
};
use palisade_core::{ByAuthority, key_fn};
use palisade_testkit::{Answer, ProbePlan, RecordingObserver, contract, probe_request};
use tower::ServiceExt;

#[tokio::test(start_paused = true)]
async fn keeps_the_contract() {
    contract!(CircuitBreakerLayer::http())
        .shares(|one, other, probe| async move {
            probe.set(ProbePlan { answer: Answer::Fails, ..ProbePlan::default() });
            for _ in 0..10 {
                let _ = one.clone().oneshot(probe_request(1)).await;
            }
            let calls = probe.calls();
            let refused = other.oneshot(probe_request(1)).await.is_err();
            refused && probe.calls() == calls
        })
        .check()
        .await;
}

#[tokio::test(start_paused = true)]
async fn keeps_it_with_other_rules() {
    let observer = Arc::new(RecordingObserver::new());
    contract!(
        CircuitBreakerLayer::http()
            .trip(
                Trip::consecutive(2)
                    .or(Trip::slow_rate(Duration::from_secs(9), 0.5).window(Window::count(100)))
            )
            .half_open(HalfOpen::permits(1))
            .ramp_up(Duration::from_secs(10))
            .on_cancel(OnCancel::FailureAfter(Duration::from_secs(5)))
            .observer(observer.clone())
    )
    .check()
    .await;
    contract!(CircuitBreakerLayer::new(Trip::failure_rate(0.5))).check().await;
    contract!(CircuitBreakerLayer::http().observe_only()).check().await;
}

#[tokio::test(start_paused = true)]
async fn keeps_it_with_a_breaker_for_each_key() {
    contract!(CircuitBreakerLayer::http().keyed(ByAuthority)).check().await;
    // Each key is another, and there is no place for most of them.
    let by_length = || key_fn(|head: palisade_core::Head<'_>| head.uri.path().len());
    contract!(CircuitBreakerLayer::http().scope(Keyed::by(by_length()).max_keys(2))).check().await;
}

#[tokio::test(start_paused = true)]
async fn keeps_it_when_it_counts_at_the_end_of_the_body() {
    contract!(CircuitBreakerLayer::http().at_body_end()).check().await;
    contract!(CircuitBreakerLayer::http().keyed(ByAuthority).at_body_end()).check().await;
}

#[tokio::test(start_paused = true)]
async fn keeps_it_when_it_waits() {
    contract!(CircuitBreakerLayer::http().backpressure()).check().await;
    contract!(CircuitBreakerLayer::http().at_body_end().backpressure()).check().await;
}

#[tokio::test(start_paused = true)]
async fn a_response_in_place_of_an_error_needs_no_boxed_error() {
    let layer = CircuitBreakerLayer::new(Trip::consecutive(1))
        .on_refusal(respond_fn(|open: Open| open.retry_after().is_some()));
    let breaker = layer.handle();
    let inner =
        tower::service_fn(|fails: bool| async move { if fails { Err(7) } else { Ok(false) } });
    let service = tower::Layer::layer(&layer, inner);
    assert_eq!(service.clone().oneshot(true).await, Err(7));
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(service.oneshot(false).await, Ok(true));
}

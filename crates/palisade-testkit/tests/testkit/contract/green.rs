//! Honest layers pass.

use palisade_testkit::{Readiness, contract, probe_request};
use tower::{limit::GlobalConcurrencyLimitLayer, retry::RetryLayer, util::MapRequestLayer};
use tower_layer::Identity;
use tower_service::Service;

use super::{
    faulty::{Fault, FaultyLayer, ready},
    honest::{BoxingLayer, LateLayer, MarkedLayer, Patient, TallyLayer},
};

#[tokio::test(start_paused = true)]
async fn passes_what_adds_nothing() {
    contract!(Identity::new()).future_size(0).check().await;
}

#[tokio::test(start_paused = true)]
async fn passes_layers_of_tower() {
    contract!(MapRequestLayer::new(|request| request)).check().await;
    contract!(GlobalConcurrencyLimitLayer::new(1)).check().await;
    contract!(RetryLayer::new(Patient { attempts: 3 }))
        .allocations(10)
        .future_size(512)
        .check()
        .await;
}

#[tokio::test(start_paused = true)]
async fn passes_a_faulty_layer_without_its_fault() {
    contract!(FaultyLayer::new(Fault::Nothing)).check().await;
}

#[tokio::test(start_paused = true)]
async fn passes_an_allocation_that_is_declared() {
    contract!(BoxingLayer).allocations(1).check().await;
}

#[tokio::test(start_paused = true)]
async fn passes_a_layer_that_is_ready_on_its_own() {
    contract!(LateLayer).readiness(Readiness::Independent).allocations(1).check().await;
}

#[tokio::test(start_paused = true)]
async fn infers_what_depends_on_the_inner_error() {
    contract!(MarkedLayer::inferred().option()).check().await;
}

#[tokio::test(start_paused = true)]
async fn takes_layers_that_borrow() {
    let layer = TallyLayer::default();
    contract!(layer.clone()).check().await;
}

#[tokio::test(start_paused = true)]
async fn passes_state_that_is_seen_to_be_shared() {
    contract!(TallyLayer::default())
        .shares(|mut one, other, _| async move {
            ready(&mut one).await.unwrap();
            one.call(probe_request(1)).await.unwrap();
            other.calls() == 1
        })
        .check()
        .await;
}

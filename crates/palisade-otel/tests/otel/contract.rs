use opentelemetry::{Context, trace::noop::NoopTracer};
use opentelemetry_sdk::trace::Sampler;
use palisade_core::Origins;
use palisade_otel::TraceLayer;
use palisade_testkit::contract;

use crate::support::Telemetry;

#[tokio::test(start_paused = true)]
async fn keeps_the_contract() {
    let telemetry = Telemetry::new();
    let layer = contract!(telemetry.layer().propagate(Origins::any()));
    layer.allocations(10).check().await;
}

#[tokio::test(start_paused = true)]
async fn a_span_that_no_one_reads_allocates_little() {
    let telemetry = Telemetry::sampled(Sampler::AlwaysOff);
    contract!(telemetry.layer()).allocations(5).check().await;
    contract!(TraceLayer::new().tracer(NoopTracer::new())).allocations(5).check().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_allocated_where_telemetry_is_suppressed() {
    let _suppressed = Context::enter_telemetry_suppressed_scope();
    contract!(Telemetry::new().layer()).check().await;
}

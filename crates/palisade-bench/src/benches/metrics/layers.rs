use std::sync::Arc;

use palisade_core::{HttpClassify, Typed};
use palisade_metrics::{MetricsLayer, Registry};
use tower::{Layer, ServiceBuilder};
use tower_http::trace::TraceLayer;

use crate::{
    inner::Healthy,
    runtime::two_threads as runtime,
    subject::{BARE, Subject},
    subjects::{axum_prometheus, opentelemetry},
};

/// A request that succeeds, with its body: counted and timed once, next to the client.
pub(in crate::benches) fn attempts() -> Vec<Subject> {
    let (axum_prometheus, upkeep) = axum_prometheus::layer();
    let tower_otel = opentelemetry::instrumentation_tower().layer(Healthy);
    let tower_http_otel = opentelemetry::tower_http_opentelemetry().layer(Healthy);
    vec![
        Subject::drained(BARE, Healthy),
        Subject::drained("palisade", Registry::new().attempts::<Typed>().layer(Healthy)),
        Subject::drained("palisade-processor-clock", processor_clock().layer(Healthy)),
        Subject::drained("axum-prometheus", axum_prometheus.layer(Healthy))
            .prepared(move || upkeep.run_upkeep()),
        Subject::drained("tower-http-opentelemetry", tower_http_otel),
        Subject::drained("opentelemetry-instrumentation-tower", tower_otel),
        // It counts nothing, and nobody listens to it.
        Subject::drained("tower-http-trace", TraceLayer::new_for_http().layer(Healthy)),
    ]
}

/// The same counted twice: as a call, and as its one attempt.
pub(in crate::benches) fn calls_and_attempts() -> Vec<Subject> {
    let metrics = Registry::new();
    let both = ServiceBuilder::new()
        .layer(metrics.calls::<Typed>())
        .layer(metrics.attempts::<Typed>())
        .service(Healthy);
    vec![Subject::drained(BARE, Healthy), Subject::drained("palisade", both)]
}

fn processor_clock() -> MetricsLayer<HttpClassify> {
    Registry::new().processor_clock().attempts()
}

const TASKS: u32 = 2;

/// The same of two threads at once.
pub(in crate::benches) fn two_threads() -> Vec<Subject> {
    let runtime = Arc::new(runtime());
    let palisade = Registry::new().attempts::<Typed>().layer(Healthy);
    let (axum_prometheus, upkeep) = axum_prometheus::layer();
    let axum_prometheus = axum_prometheus.layer(Healthy);
    let tower_otel = opentelemetry::instrumentation_tower().layer(Healthy);
    let tower_http_otel = opentelemetry::tower_http_opentelemetry().layer(Healthy);
    let trace = TraceLayer::new_for_http().layer(Healthy);
    vec![
        Subject::draining_tasks(BARE, &runtime, TASKS, Healthy),
        Subject::draining_tasks("palisade", &runtime, TASKS, palisade),
        Subject::draining_tasks("axum-prometheus", &runtime, TASKS, axum_prometheus)
            .prepared(move || upkeep.run_upkeep()),
        Subject::draining_tasks("tower-http-opentelemetry", &runtime, TASKS, tower_http_otel),
        Subject::draining_tasks("opentelemetry-instrumentation-tower", &runtime, TASKS, tower_otel),
        Subject::draining_tasks("tower-http-trace", &runtime, TASKS, trace),
    ]
}

use std::{hint::black_box, time::Duration};

use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use palisade_metrics::Histogram;

use crate::{
    footprint::Footprint,
    subject::{BARE, Subject},
    subjects::opentelemetry,
};

/// A duration into a histogram that is there, and known.
pub(in crate::benches) fn one_thread() -> Vec<Subject> {
    let palisade = Histogram::new();
    let (metrics, upkeep) = metrics_handle();
    let (opentelemetry, attributes) = opentelemetry::histogram();
    vec![
        durations(BARE, |time| {
            black_box(time);
        }),
        durations("palisade", move |time| palisade.record(time)),
        durations("metrics", move |time| metrics.record(time.as_secs_f64()))
            .prepared(move || upkeep.run_upkeep()),
        durations("opentelemetry", move |time| {
            opentelemetry.record(time.as_secs_f64(), &attributes);
        }),
    ]
}

/// Durations from 1 to 128 ms, up and down.
fn durations(name: &'static str, mut record: impl FnMut(Duration) + 'static) -> Subject {
    let mut turn = 0_u32;
    Subject::work(name, move || {
        turn = turn.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let micros = 1_000 << (turn >> 29);
        record(Duration::from_nanos(u64::from(micros * 1_000 + (turn >> 12))));
    })
}

/// A handle, as the macros of `metrics` find it for each call, and what sees to its values: it keeps
/// each of them until then.
fn metrics_handle() -> (metrics::Histogram, PrometheusHandle) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let key = Key::from_parts("duration", vec![Label::new("method", "GET")]);
    let metadata = Metadata::new("bench", Level::INFO, None);
    (recorder.register_histogram(&key, &metadata), recorder.handle())
}

/// What one thread takes for durations from 1 to 128 ms.
pub(in crate::benches) fn memory() -> Vec<Footprint> {
    vec![Footprint::new("palisade", || {
        let histogram = Histogram::new();
        for micros in 1_000..128_000 {
            histogram.record(Duration::from_micros(micros));
        }
        histogram
    })]
}

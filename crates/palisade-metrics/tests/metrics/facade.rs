use std::collections::BTreeMap;

use metrics::Unit;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use palisade_metrics::{Facade, Format, Times};

use crate::text::{filled, read};

/// What a recorder was told, with series spelled as Prometheus' text does.
struct Published {
    values: BTreeMap<String, f64>,
    durations: BTreeMap<String, Vec<f64>>,
    units: BTreeMap<String, Option<Unit>>,
}

fn publish(facade: &mut Facade, recorder: &DebuggingRecorder) -> Published {
    metrics::with_local_recorder(recorder, || facade.publish());
    taken(&recorder.snapshotter())
}

fn taken(snapshotter: &Snapshotter) -> Published {
    let (values, durations, units) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut published = Published { values, durations, units };
    for (key, unit, help, value) in snapshotter.snapshot().into_vec() {
        let escape =
            |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let label =
            |label: &metrics::Label| format!("{}=\"{}\"", label.key(), escape(label.value()));
        let labels: Vec<_> = key.key().labels().map(label).collect();
        let name = key.key().name();
        let series = match &*labels {
            [] => name.to_owned(),
            _ => format!("{name}{{{}}}", labels.join(",")),
        };
        assert!(help.is_some_and(|help| help.ends_with('.')), "{name}");
        published.units.insert(name.to_owned(), unit);
        match value {
            DebugValue::Counter(count) => drop(published.values.insert(series, count as f64)),
            DebugValue::Gauge(value) => drop(published.values.insert(series, *value)),
            DebugValue::Histogram(times) => {
                let times = times.into_iter().map(|time| *time).collect();
                published.durations.insert(series, times);
            }
        }
    }
    published
}

/// Whether a recorder was told as many durations as there are, and as long ones.
fn check(durations: &BTreeMap<String, Vec<f64>>, name: &str, times: &Times) {
    let of_name = durations.iter().filter(|(series, _)| series.starts_with(name));
    let told: Vec<f64> = of_name.flat_map(|(_, durations)| durations).copied().collect();
    assert_eq!(told.len() as u64, times.count(), "{name}");
    let (sum, exact) = (told.iter().sum::<f64>(), times.sum().as_secs_f64());
    // Less than a millionth of a second counts as none.
    assert!((sum - exact).abs() <= exact * 0.011 + 1e-6 * told.len() as f64, "{sum} for {exact}");
}

#[tokio::test(start_paused = true)]
async fn publishes_what_the_text_says() {
    let registry = filled().await;
    let mut facade = registry.facade();
    let published = publish(&mut facade, &DebuggingRecorder::new());
    let text = read(&registry.snapshot().render(Format::Prometheus), false);
    let is_histogram = |series: &String| series.contains("_seconds_");
    let (histograms, values): (BTreeMap<_, _>, BTreeMap<_, _>) =
        text.into_iter().partition(|(series, _)| is_histogram(series));
    assert_eq!(published.values, values);
    assert!(!published.durations.is_empty());
    for (series, durations) in &published.durations {
        let count = series.replacen('{', "_count{", 1);
        assert_eq!(durations.len() as f64, histograms[&count], "{series}");
    }
    let counts = histograms.keys().filter(|series| series.contains("_count{"));
    assert_eq!(counts.count(), published.durations.len());
    for (name, unit) in [
        ("palisade_call_duration_seconds", Some(Unit::Seconds)),
        ("palisade_response_body_bytes_total", Some(Unit::Bytes)),
        ("palisade_retries_total", None),
    ] {
        assert_eq!(published.units[name], unit, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_time_only_what_came_is_told() {
    let (registry, recorder) = (filled().await, DebuggingRecorder::new());
    let mut facade = registry.facade();
    let first = publish(&mut facade, &recorder);
    check(&first.durations, "palisade_call_duration", &registry.snapshot().calls.times());
    let again = publish(&mut facade, &recorder);
    assert_eq!(again.values, first.values);
    assert!(again.durations.values().all(Vec::is_empty), "{:?}", again.durations);

    let mut window = registry.window();
    for millis in [1, 7, 20, 20, 333] {
        time(&registry, millis).await;
    }
    let came = publish(&mut facade, &recorder);
    let since = window.tick();
    assert_eq!(since.calls.count(), 5);
    check(&came.durations, "palisade_call_duration", &since.calls.times());
    assert!(since.attempts.groups.is_empty());
    check(&came.durations, "http_client_request_duration", &since.attempts.times());
}

/// A call that takes so long.
async fn time(registry: &palisade_metrics::Registry, millis: u64) {
    use http::{Request, Response};
    use http_body_util::{BodyExt, Empty};
    use tower::{BoxError, Layer, ServiceExt, service_fn};

    let api = service_fn(move |_: Request<Empty<&'static [u8]>>| async move {
        tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
        Ok::<_, BoxError>(Response::new(Empty::<&'static [u8]>::new()))
    });
    let response = registry.calls().layer(api).oneshot(Request::new(Empty::new())).await.unwrap();
    response.into_body().collect().await.unwrap();
}

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use opentelemetry::KeyValue;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{
        InstrumentKind, ManualReader, Pipeline, Temporality,
        data::{AggregatedMetrics, Metric, MetricData, ResourceMetrics},
        reader::MetricReader,
    },
};
use palisade_metrics::{Format, Registry};

/// A reader that reads when it is told to.
#[derive(Clone, Debug)]
pub(crate) struct Reader(Arc<ManualReader>);

impl Reader {
    pub(crate) fn new(temporality: Temporality) -> Self {
        Self(Arc::new(ManualReader::builder().with_temporality(temporality).build()))
    }

    pub(crate) fn read(&self) -> Exported {
        let mut metrics = ResourceMetrics::default();
        self.0.collect(&mut metrics).unwrap();
        Exported::of(&metrics)
    }
}

impl MetricReader for Reader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

/// What was exported: the numbers of each series, by the names that a collector
/// makes for Prometheus of those of the instrument and its attributes.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Exported {
    pub(crate) kinds: BTreeMap<String, &'static str>,
    pub(crate) series: BTreeMap<String, u64>,
    pub(crate) seconds: BTreeMap<String, f64>,
}

impl Exported {
    pub(crate) fn of(metrics: &ResourceMetrics) -> Self {
        let mut exported = Self::default();
        for scope in metrics.scope_metrics() {
            assert_eq!(scope.scope(), &palisade_otel::scope());
            scope.metrics().for_each(|metric| exported.add(metric));
        }
        exported
    }

    fn add(&mut self, metric: &Metric) {
        assert_ne!(metric.description(), "");
        let unit = match metric.unit() {
            "s" => "_seconds",
            "By" => "_bytes",
            unit => {
                assert!(unit.starts_with('{'), "{} has the unit {unit:?}", metric.name());
                ""
            }
        };
        let name = format!("{}{unit}", metric.name().replace('.', "_"));
        match metric.data() {
            AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                assert!(sum.is_monotonic());
                let name = format!("{name}_total");
                self.kind(&name, "counter");
                for point in sum.data_points() {
                    self.point(&name, point.attributes(), &[], point.value());
                }
            }
            AggregatedMetrics::I64(MetricData::Sum(sum)) => {
                assert!(!sum.is_monotonic());
                self.kind(&name, "gauge");
                for point in sum.data_points() {
                    let value = u64::try_from(point.value()).unwrap();
                    self.point(&name, point.attributes(), &[], value);
                }
            }
            AggregatedMetrics::U64(MetricData::Gauge(gauge)) => {
                self.kind(&name, "gauge");
                for point in gauge.data_points() {
                    self.point(&name, point.attributes(), &[], point.value());
                }
            }
            AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                self.kind(&name, "histogram");
                for point in histogram.data_points() {
                    self.point(&format!("{name}_count"), point.attributes(), &[], point.count());
                    let bounds = point.bounds().map(|bound| bound.to_string());
                    let mut sum = 0;
                    for (bound, count) in
                        bounds.chain(["+Inf".to_owned()]).zip(point.bucket_counts())
                    {
                        sum += count;
                        let bound = KeyValue::new("le", bound);
                        self.point(&format!("{name}_bucket"), point.attributes(), &[bound], sum);
                    }
                    let sum = series(&format!("{name}_sum"), point.attributes(), &[]);
                    self.seconds.insert(sum, point.sum());
                }
            }
            other => panic!("{name} is {other:?}"),
        }
    }

    fn kind(&mut self, name: &str, kind: &'static str) {
        assert!(self.kinds.insert(name.to_owned(), kind).is_none(), "{name} is there twice");
    }

    fn point<'a>(
        &mut self,
        name: &str,
        attributes: impl Iterator<Item = &'a KeyValue>,
        more: &'a [KeyValue],
        value: u64,
    ) {
        let series = series(name, attributes, more);
        assert!(self.series.insert(series.clone(), value).is_none(), "{series} is there twice");
    }

    /// The same of what palisade-metrics writes for Prometheus.
    pub(crate) fn rendered(registry: &Registry) -> Self {
        let mut rendered = Self::default();
        for line in registry.snapshot().render(Format::Prometheus).lines() {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                let (name, kind) = family.split_once(' ').unwrap();
                let kind = ["counter", "gauge", "histogram"].into_iter().find(|k| *k == kind);
                rendered.kind(name, kind.unwrap());
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                if name.ends_with("_sum") {
                    rendered.seconds.insert(sorted(series), value.parse().unwrap());
                } else {
                    rendered.series.insert(sorted(series), value.parse().unwrap());
                }
            }
        }
        rendered
    }

    pub(crate) fn get(&self, series: &str) -> Option<u64> {
        self.series.get(series).copied()
    }

    /// All that is counted in the series of this name.
    pub(crate) fn sum(&self, name: &str) -> u64 {
        let of_name =
            self.series.iter().filter(|(series, _)| series.split('{').next() == Some(name));
        of_name.map(|(_, value)| value).sum()
    }
}

fn series<'a>(
    name: &str,
    attributes: impl Iterator<Item = &'a KeyValue>,
    more: &'a [KeyValue],
) -> String {
    let label = |attribute: &KeyValue| {
        format!("{}=\"{}\"", attribute.key.as_str().replace('.', "_"), attribute.value)
    };
    let labels: Vec<_> = attributes.chain(more).map(label).collect();
    sorted(&format!("{name}{{{}}}", labels.join(",")))
}

/// A series with its labels in order. No value here has a comma.
fn sorted(series: &str) -> String {
    let Some((name, labels)) = series.split_once('{') else {
        return format!("{series}{{}}");
    };
    let mut labels: Vec<_> = labels.trim_end_matches('}').split(',').collect();
    labels.sort_unstable();
    format!("{name}{{{}}}", labels.join(","))
}

use std::{collections::HashMap, fmt};

use metrics::{Key, Label, Level, Metadata, Recorder, Unit};

use crate::{
    Registry, Times,
    families::{Family, Kind, Labels, Sink, write_all},
};

/// Publishes what a registry has counted to the recorder of the crate
/// [`metrics`], under the names and labels that
/// [Prometheus' text](crate::Snapshot::write) has.
///
/// Counters are set to what was counted in all, and gauges to what they are. A
/// histogram is told each duration that came since it was last published, as
/// the middle of its bucket: at most 1.1 % off, and on the right side of the
/// bounds that OpenTelemetry advises.
///
/// Nothing is published by itself, and no request waits for it: call
/// [`publish`](Self::publish) every few seconds. Use one facade for one
/// recorder; another one begins anew.
///
/// ```
/// use metrics_util::debugging::DebuggingRecorder;
/// use palisade_metrics::Registry;
///
/// let recorder = DebuggingRecorder::new();
/// let published = recorder.snapshotter();
///
/// let registry = Registry::new();
/// let mut facade = registry.facade();
/// // The global recorder is found without this.
/// metrics::with_local_recorder(&recorder, || facade.publish());
/// let published = published.snapshot().into_vec();
/// assert!(published.iter().any(|(key, ..)| key.key().name() == "palisade_call_unready_total"));
/// ```
#[derive(Debug)]
pub struct Facade {
    registry: Registry,
    // What each histogram was told.
    told: HashMap<Key, Times>,
}

impl Registry {
    /// Publishes what is counted to the crate [`metrics`], all that was counted
    /// before included.
    ///
    /// ```
    /// let registry = palisade_metrics::Registry::new();
    /// let mut facade = registry.facade();
    /// // Every few seconds:
    /// facade.publish();
    /// ```
    pub fn facade(&self) -> Facade {
        Facade { registry: self.clone(), told: HashMap::new() }
    }
}

impl Facade {
    /// Publishes to the recorder of this thread, or else to the global one. What
    /// is published while there is none is missing from its histograms.
    pub fn publish(&mut self) {
        let snapshot = self.registry.snapshot();
        metrics::with_recorder(|recorder| {
            // A recorder takes all.
            let _ = write_all(&snapshot, &mut Publisher { recorder, told: &mut self.told });
        });
    }
}

struct Publisher<'a> {
    recorder: &'a dyn Recorder,
    told: &'a mut HashMap<Key, Times>,
}

const METADATA: Metadata<'static> = Metadata::new("palisade", Level::INFO, Some(module_path!()));

impl Sink for Publisher<'_> {
    fn family(&mut self, family: &Family) -> fmt::Result {
        let (name, unit) = (name(family).into(), family.unit().and_then(Unit::from_string));
        match family.kind {
            Kind::Counter => self.recorder.describe_counter(name, unit, family.help.into()),
            Kind::Gauge => self.recorder.describe_gauge(name, unit, family.help.into()),
            Kind::Histogram => self.recorder.describe_histogram(name, unit, family.help.into()),
        }
        Ok(())
    }

    fn value(&mut self, family: &Family, labels: &Labels<'_>, value: u64) -> fmt::Result {
        let key = key(family, labels);
        match family.kind {
            Kind::Counter => self.recorder.register_counter(&key, &METADATA).absolute(value),
            _ => self.recorder.register_gauge(&key, &METADATA).set(value as f64),
        }
        Ok(())
    }

    fn times(&mut self, family: &Family, labels: &Labels<'_>, times: &Times) -> fmt::Result {
        let key = key(family, labels);
        let histogram = self.recorder.register_histogram(&key, &METADATA);
        let told = self.told.entry(key).or_default();
        for (middle, count) in times.since(told).middles() {
            histogram.record_many(middle, usize::try_from(count).unwrap_or(usize::MAX));
        }
        times.clone_into(told);
        Ok(())
    }
}

fn name(family: &Family) -> String {
    format!("{}{}", family.name, family.suffix())
}

fn key(family: &Family, labels: &Labels<'_>) -> Key {
    let given = labels.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
    let labels: Vec<_> = given.map(|(name, value)| Label::new(name, value.to_owned())).collect();
    Key::from_parts(name(family), labels)
}

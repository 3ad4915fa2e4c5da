mod families;
mod read;

use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::{
    KeyValue,
    metrics::{AsyncInstrument, Histogram, Meter},
};
use palisade_metrics::{Registry, Snapshot};

use self::families::{FAMILIES, Family, Kind, What};

/// Exports what a registry of palisade-metrics has counted, all that was counted
/// before included, with each collection of this meter.
///
/// No request waits for it: a collection reads the registry, as often as there
/// are readers. A histogram is told each duration that came since, as the middle
/// of its bucket: at most 1.1 % off, and on the right side of the bounds that
/// OpenTelemetry advises.
///
/// Do this once for a registry and a meter provider, soon after the provider is
/// set: what is done twice, histograms are told twice. The provider keeps the
/// registry.
///
/// ```
/// use opentelemetry::global;
/// use palisade_metrics::Registry;
///
/// let metrics = Registry::new();
/// // After `global::set_meter_provider`:
/// palisade_otel::register_instruments(&metrics, &global::meter_with_scope(palisade_otel::scope()));
/// ```
///
/// # Names
///
/// Instruments and attributes are those of the semantic conventions where these
/// have one: `http.client.request.duration`, `http.client.active_requests` and
/// their twins for servers. Others begin with `palisade.`; where a collector
/// makes names for Prometheus of them, they are those of
/// [`Snapshot::render`](palisade_metrics::Snapshot::render), labels included.
///
/// `server.port` is that which requests name, or else that of the scheme of the
/// first request there.
///
/// OpenTelemetry's SDK tells 2000 sets of attributes of an instrument apart,
/// unless a view says otherwise. A registry may know more.
pub fn register_instruments(registry: &Registry, meter: &Meter) {
    let histograms = FAMILIES.iter().filter(|family| family.what.kind() == Kind::Histogram);
    let reader = Arc::new(Reader {
        registry: registry.clone(),
        last: Mutex::new(Last { snapshot: Arc::default(), read: u64::MAX }),
        histograms: histograms.map(|family| (family.what, histogram(family, meter))).collect(),
    });
    for (index, family) in FAMILIES.iter().enumerate() {
        observe(Arc::clone(&reader), index, family, meter);
    }
}

struct Reader {
    registry: Registry,
    last: Mutex<Last>,
    histograms: Vec<(What, Histogram<f64>)>,
}

struct Last {
    snapshot: Arc<Snapshot>,
    // Which instruments have read it, by the bits of their numbers.
    read: u64,
}

impl Reader {
    /// What an instrument is to be read from. A collection asks all instruments,
    /// so the one that has read the last snapshot already begins another
    /// collection.
    fn snapshot(&self, index: usize) -> Arc<Snapshot> {
        let instrument = 1 << index;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.read & instrument == 0 {
            last.read |= instrument;
            return Arc::clone(&last.snapshot);
        }
        let fresh = Arc::new(self.registry.snapshot());
        let came = fresh.since(&last.snapshot);
        *last = Last { snapshot: Arc::clone(&fresh), read: instrument };
        drop(last);
        self.replay(&came);
        fresh
    }

    /// Tells the histograms what came. They are read after all callbacks.
    fn replay(&self, came: &Snapshot) {
        for (what, histogram) in &self.histograms {
            read::times(*what, came, &mut |times, attributes| {
                for (middle, count) in times.middles() {
                    (0..count).for_each(|_| histogram.record(middle, attributes));
                }
            });
        }
    }
}

/// The bounds that OpenTelemetry advises for HTTP durations, in seconds.
const BOUNDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

fn histogram(family: &Family, meter: &Meter) -> Histogram<f64> {
    let histogram = meter.f64_histogram(family.name).with_description(family.description);
    histogram.with_unit(family.unit).with_boundaries(BOUNDS.to_vec()).build()
}

fn observe(reader: Arc<Reader>, index: usize, family: &'static Family, meter: &Meter) {
    let Family { name, unit, what, description } = *family;
    let each = move |tell: &mut dyn FnMut(u64, &[KeyValue])| {
        read::values(what, &reader.snapshot(index), tell);
    };
    // The meter keeps the callback.
    match what.kind() {
        // Told, not observed.
        Kind::Histogram => {}
        Kind::Counter => {
            let counter = meter.u64_observable_counter(name).with_unit(unit);
            let callback = move |observer: &dyn AsyncInstrument<u64>| {
                each(&mut |value, attributes| observer.observe(value, attributes));
            };
            counter.with_description(description).with_callback(callback).build();
        }
        Kind::UpDownCounter => {
            let counter = meter.i64_observable_up_down_counter(name).with_unit(unit);
            let callback = move |observer: &dyn AsyncInstrument<i64>| {
                each(&mut |value, attributes| {
                    observer.observe(i64::try_from(value).unwrap_or(i64::MAX), attributes);
                });
            };
            counter.with_description(description).with_callback(callback).build();
        }
        Kind::Gauge => {
            let gauge = meter.u64_observable_gauge(name).with_unit(unit);
            let callback = move |observer: &dyn AsyncInstrument<u64>| {
                each(&mut |value, attributes| observer.observe(value, attributes));
            };
            gauge.with_description(description).with_callback(callback).build();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_bit_for_each_instrument() {
        assert!(FAMILIES.len() < 64);
    }

    #[test]
    fn an_instrument_reads_no_snapshot_twice() {
        let registry = Registry::new();
        let last = Mutex::new(Last { snapshot: Arc::default(), read: u64::MAX });
        let reader = Reader { registry, last, histograms: Vec::new() };
        let [one, two] = [reader.snapshot(0), reader.snapshot(1)];
        assert!(Arc::ptr_eq(&one, &two));
        let again = reader.snapshot(1);
        assert!(!Arc::ptr_eq(&again, &two));
        assert!(Arc::ptr_eq(&again, &reader.snapshot(0)));
    }
}

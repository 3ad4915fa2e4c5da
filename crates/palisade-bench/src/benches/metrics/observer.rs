use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use palisade_core::{Event, Observer, Target};
use palisade_metrics::Registry;

use crate::subject::{BARE, Subject};

/// What a layer does to tell something, if nobody listens.
pub(in crate::benches) fn unset() -> Vec<Subject> {
    vec![bare(), layer("palisade", None)]
}

/// The same, if somebody counts it; and if a registry does, with its labels.
pub(in crate::benches) fn set() -> Vec<Subject> {
    let registry = Registry::new().observer();
    vec![
        bare(),
        layer("palisade", Some(Arc::new(Count::default()))),
        layer("palisade-registry", Some(registry)),
    ]
}

fn bare() -> Subject {
    Subject::work(BARE, || {
        black_box(&None::<Arc<dyn Observer>>);
    })
}

fn layer(name: &'static str, observer: Option<Arc<dyn Observer>>) -> Subject {
    Subject::work(name, move || {
        if let Some(observer) = black_box(&observer) {
            let event =
                Event::Breaker { from: "closed", to: "open", reason: "rate", generation: 1 };
            observer.on_event(Target::default(), &event);
        }
    })
}

#[derive(Debug, Default)]
struct Count(AtomicU64);

impl Observer for Count {
    fn on_event(&self, _: Target<'_>, _: &Event) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

//! Counts what the retry layer tells.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use palisade::core::{Event, Observer, Target};

/// Is told by the layer, and asked when all is over.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counts: Mutex<Counts>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) retries: u64,
    /// How many calls were not retried any further, by reason.
    pub(crate) stops: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(crate) fn counts(&self) -> Counts {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.clone()
    }
}

impl Observer for Tally {
    fn on_event(&self, _: Target<'_>, event: &Event) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Retry { .. } => counts.retries += 1,
            Event::GaveUp { reason, .. } => {
                *counts.stops.entry(reason).or_default() += 1;
            }
            _ => {}
        }
    }
}

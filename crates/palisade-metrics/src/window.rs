use std::mem;

use crate::{Registry, Snapshot};

/// Reads a [`Registry`] interval by interval.
///
/// ```
/// # async fn every_ten_seconds() {}
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let registry = palisade_metrics::Registry::new();
/// let mut window = registry.window();
/// // Calls are made.
/// every_ten_seconds().await;
/// let last_ten = window.tick();
/// assert_eq!(last_ten.calls.count(), 0);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Window {
    registry: Registry,
    seen: Snapshot,
}

impl Window {
    pub(crate) fn new(registry: Registry) -> Self {
        let seen = registry.snapshot();
        Self { registry, seen }
    }

    /// What was counted since the last tick, or since the window was made.
    /// Gauges, such as what is in flight, are as they are now.
    pub fn tick(&mut self) -> Snapshot {
        let now = self.registry.snapshot();
        let earlier = mem::replace(&mut self.seen, now);
        self.seen.since(&earlier)
    }
}

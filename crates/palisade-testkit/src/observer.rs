use std::sync::Mutex;

use http::Method;
use palisade_core::{Endpoint, Event, Observer, Target};

use crate::sync::lock;

/// Writes down what layers tell.
///
/// ```
/// use std::sync::Arc;
/// use palisade_core::Observer;
/// use palisade_testkit::RecordingObserver;
///
/// let recorder = Arc::new(RecordingObserver::new());
/// let observer: Arc<dyn Observer> = recorder.clone();
/// // A layer is given `observer`, and is used.
/// assert!(recorder.take().is_empty());
/// ```
#[derive(Debug, Default)]
pub struct RecordingObserver {
    recorded: Mutex<Vec<Recorded>>,
}

/// One event, and where it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recorded {
    /// The endpoint of the target.
    pub endpoint: Option<&'static Endpoint>,
    /// The method of the target.
    pub method: Option<Method>,
    /// The authority of the target.
    pub authority: Option<String>,
    /// The event, as `Debug` shows it.
    pub event: String,
}

impl RecordingObserver {
    /// Nothing is written down yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what was written down.
    pub fn take(&self) -> Vec<Recorded> {
        std::mem::take(&mut lock(&self.recorded))
    }
}

impl Observer for RecordingObserver {
    fn on_event(&self, target: Target<'_>, event: &Event) {
        let recorded = Recorded {
            endpoint: target.endpoint,
            method: target.method.cloned(),
            authority: target.authority.map(ToOwned::to_owned),
            event: format!("{event:?}"),
        };
        lock(&self.recorded).push(recorded);
    }
}

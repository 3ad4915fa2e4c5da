//! Writes down what the breaker tells.

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use palisade::{
    circuit_breaker::State,
    core::{Event, Observer, Target},
};
use tokio::time::Instant;

/// Is told by the breaker of its changes.
#[derive(Debug)]
pub(crate) struct Changes {
    start: Instant,
    seen: Mutex<Vec<Change>>,
}

/// From one state to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) at: Duration,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    pub(crate) reason: &'static str,
}

impl Changes {
    pub(crate) fn since(start: Instant) -> Self {
        Self { start, seen: Mutex::default() }
    }

    pub(crate) fn all(&self) -> Vec<Change> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The state when a time begins, and those that follow within it.
    pub(crate) fn states(&self, time: Range<Duration>) -> String {
        let changes = self.all();
        let (before, rest) = changes.split_at(changes.partition_point(|c| c.at < time.start));
        let first = before.last().map_or(State::Closed.as_str(), |change| change.to);
        let within = rest.iter().take_while(|change| change.at < time.end);
        let states: Vec<_> = [first].into_iter().chain(within.map(|change| change.to)).collect();
        states.join(" > ")
    }
}

impl Observer for Changes {
    fn on_event(&self, _: Target<'_>, event: &Event) {
        if let Event::Breaker { from, to, reason, .. } = *event {
            let change = Change { at: self.start.elapsed(), from, to, reason };
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(change);
        }
    }
}

/// How long the breaker was open, each time.
pub(crate) fn open_times(changes: &[Change]) -> Vec<Duration> {
    let lasted = changes.windows(2).filter(|pair| pair[0].to == State::Open.as_str());
    lasted.map(|pair| pair[1].at - pair[0].at).collect()
}

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use palisade_core::{Cause, Event, Observer, Target};

use crate::{
    Histogram, Registry,
    group::End,
    labels::{Label, Labels},
    table::Table,
};

/// What other layers told.
#[derive(Debug)]
pub(crate) struct Events {
    counts: Table<Count>,
    breakers: Table<Breaker>,
    // What found no room.
    pub(crate) lost: AtomicU64,
}

/// How often the same was told of the same target.
#[derive(Debug)]
pub(crate) struct Count {
    pub(crate) key: Key,
    pub(crate) count: AtomicU64,
    // Of what takes time.
    pub(crate) times: Histogram,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) what: What,
    /// Why, or what for.
    pub(crate) reason: &'static str,
    /// What it comes from.
    pub(crate) from: &'static str,
    pub(crate) cause: Option<End>,
    pub(crate) endpoint: Label,
    pub(crate) authority: Label,
}

/// What was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum What {
    Retry,
    Settled,
    GaveUp,
    Transition,
    Refused,
    WouldRefuse,
    Waited,
    Paused,
    Cache,
    Refreshed,
    Login,
}

impl What {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Settled => "settled",
            Self::GaveUp => "gave_up",
            Self::Transition => "transition",
            Self::Refused => "refused",
            Self::WouldRefuse => "would_refuse",
            Self::Waited => "waited",
            Self::Paused => "paused",
            Self::Cache => "cache",
            Self::Refreshed => "refreshed",
            Self::Login => "login",
        }
    }
}

/// The latest state of one breaker.
#[derive(Debug)]
pub(crate) struct Breaker {
    pub(crate) endpoint: Label,
    pub(crate) authority: Label,
    // The generation, and the number of the state's name.
    state: AtomicU64,
}

/// The states that a breaker tells; another one is told as the last.
pub(crate) const STATES: [&str; 7] =
    ["closed", "open", "half_open", "ramp_up", "forced_open", "disabled", "other"];

const MOST: usize = 2000;
const STATE_BITS: u32 = 8;
const GENERATION_BITS: u32 = 30;

impl Events {
    pub(crate) fn new() -> Self {
        Self { counts: Table::new(MOST), breakers: Table::new(MOST), lost: AtomicU64::new(0) }
    }

    fn count(&self, labels: &Labels, key: Key) {
        let count = self.of(labels, key).map_or(&self.lost, |there| &there.count);
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn time(&self, labels: &Labels, key: Key, time: Duration) {
        self.count(labels, key);
        if let Some(there) = self.of(labels, key) {
            there.times.record(time);
        }
    }

    fn of(&self, labels: &Labels, key: Key) -> Option<&Count> {
        let new = || Count { key, count: AtomicU64::new(0), times: Histogram::new() };
        let place = self.counts.find_or_insert(labels.hash(&key), |there| there.key == key, new);
        self.counts.get(place?)
    }

    fn breaker(
        &self,
        labels: &Labels,
        endpoint: Label,
        authority: Label,
        to: &str,
        generation: u32,
    ) {
        let state = STATES.iter().position(|state| *state == to).unwrap_or(STATES.len() - 1);
        let state = u64::from(generation) << STATE_BITS | state as u64;
        let is = |there: &Breaker| (there.endpoint, there.authority) == (endpoint, authority);
        let new = || Breaker { endpoint, authority, state: AtomicU64::new(state) };
        let place = self.breakers.find_or_insert(labels.hash(&(endpoint, authority)), is, new);
        if let Some(breaker) = place.and_then(|place| self.breakers.get(place)) {
            // Two threads may tell theirs out of order.
            let later =
                |there: u64| is_after(generation, (there >> STATE_BITS) as u32).then_some(state);
            let _ = breaker.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
        }
    }

    pub(crate) fn counts(&self) -> Vec<&Count> {
        let mut counts: Vec<_> = self.counts.iter().map(|(_, count)| count).collect();
        counts.sort_unstable_by_key(|count| count.key);
        counts
    }

    pub(crate) fn breakers(&self) -> Vec<&Breaker> {
        let mut breakers: Vec<_> = self.breakers.iter().map(|(_, breaker)| breaker).collect();
        breakers.sort_unstable_by_key(|breaker| (breaker.endpoint, breaker.authority));
        breakers
    }
}

impl Breaker {
    pub(crate) fn state(&self) -> &'static str {
        let number = self.state.load(Ordering::Relaxed) as usize & ((1 << STATE_BITS) - 1);
        STATES[number.min(STATES.len() - 1)]
    }
}

/// Whether a generation is the later one: they go round.
fn is_after(one: u32, other: u32) -> bool {
    let ahead = one.wrapping_sub(other) & ((1 << GENERATION_BITS) - 1);
    (1..1 << (GENERATION_BITS - 1)).contains(&ahead)
}

/// Counts what layers tell: give it to them as their observer.
impl Observer for Registry {
    fn on_event(&self, target: Target<'_>, event: &Event) {
        let store = self.store();
        let (labels, events) = (&store.labels, &store.events);
        let endpoint = labels.endpoint(target.endpoint);
        let authority = labels.authority(target.authority);
        let key = |what, reason| Key { what, reason, from: "", cause: None, endpoint, authority };
        let because = |cause: &Cause| Some(End::of(cause.result));
        match event {
            Event::Retry { cause, .. } => {
                events.count(labels, Key { cause: because(cause), ..key(What::Retry, "") });
            }
            Event::Settled { .. } => events.count(labels, key(What::Settled, "")),
            Event::GaveUp { reason, .. } => events.count(labels, key(What::GaveUp, reason)),
            Event::Breaker { from, to, generation, .. } => {
                events.count(labels, Key { from, ..key(What::Transition, to) });
                events.breaker(labels, endpoint, authority, to, *generation);
            }
            Event::Refused { kind, reason, enforced, .. } => {
                let what = if *enforced { What::Refused } else { What::WouldRefuse };
                events.count(labels, Key { from: kind.as_str(), ..key(what, reason) });
            }
            Event::Waited { kind, waited } => {
                events.time(labels, Key { from: kind.as_str(), ..key(What::Waited, "") }, *waited);
            }
            Event::Paused { kind, reason, .. } => {
                events.count(labels, Key { from: kind.as_str(), ..key(What::Paused, reason) });
            }
            Event::Cache { status } => events.count(labels, key(What::Cache, status)),
            Event::Login { change } => events.count(labels, key(What::Login, change)),
            Event::Refreshed { result, took } => {
                events.time(labels, key(What::Refreshed, result), *took);
            }
            // What core may add one day.
            _ => {
                events.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_state_stands_whoever_tells_it_last() {
        let labels = Labels::new(crate::labels::Caps { endpoints: 1, authorities: 1 }, &[]);
        let events = Events::new();
        let tell =
            |to, generation| events.breaker(&labels, Label::NONE, Label::NONE, to, generation);
        let state = || events.breakers()[0].state();
        tell("half_open", 2);
        tell("open", 1);
        assert_eq!(state(), "half_open");
        tell("closed", 3);
        assert_eq!(state(), "closed");
        // The last generation, and then the first.
        tell("open", (1 << GENERATION_BITS) - 1);
        tell("something", 0);
        assert_eq!(state(), "closed", "half a round later nobody knows");
        tell("open", 1 << (GENERATION_BITS - 1));
        tell("closed", (1 << GENERATION_BITS) - 1);
        tell("open", 0);
        assert_eq!(state(), "open");
        assert_eq!(events.breakers().len(), 1);
    }
}

use std::sync::atomic::Ordering;

use crate::{
    Requests, Times,
    events::{Breaker, Count, STATES},
    group::End,
    labels::Labels,
    store::{Place, Store},
};

/// What a [`Registry`](crate::Registry) has counted.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// Calls as their callers see them.
    pub calls: Requests,
    /// What went over the wire.
    pub attempts: Requests,
    /// What a server was asked for.
    pub served: Requests,
    /// What other layers told the registry as their observer.
    pub events: Vec<EventCount>,
    /// Breakers that have told a change, as they are now.
    pub breakers: Vec<BreakerState>,
    /// What found no room.
    pub folded: Folded,
}

/// How often a layer told the same of the same target.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct EventCount {
    /// What happened: `retry`, `settled`, `gave_up`, `transition`, `refused`,
    /// `would_refuse`, `waited`, `paused`, `cache`, `refreshed`, `login`.
    pub event: String,
    /// Why a call was given up, refused or held up; the state that a breaker
    /// went to; the status of a cache; what came of a refresh, or became of a login.
    pub reason: String,
    /// The kind of layer that refused or held up; the state that a breaker came
    /// from.
    pub from: String,
    /// What was retried: a status, or a kind of error.
    pub cause: Option<String>,
    /// The method of the endpoint, if the layer knows it.
    pub method: Option<String>,
    /// The template of the endpoint, if the layer knows it.
    pub endpoint: Option<String>,
    /// Host and port, if the layer knows them.
    pub authority: Option<String>,
    /// The port that is meant, if requests were seen that tell.
    pub port: Option<u16>,
    /// How often.
    pub count: u64,
    /// How long a request waited, or a refresh took; empty for other events.
    pub times: Times,
}

/// The state of a breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct BreakerState {
    /// The method of the endpoint that it is for, if it is for one.
    pub method: Option<String>,
    /// The template of the endpoint that it is for, if it is for one.
    pub endpoint: Option<String>,
    /// Host and port that it is for, if it is for one.
    pub authority: Option<String>,
    /// The port that is meant, if requests were seen that tell.
    pub port: Option<u16>,
    /// The state, in snake case.
    pub state: String,
}

/// How often a label had no room for a value, so that `_OTHER` was counted
/// instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Folded {
    /// Requests whose endpoint found no room.
    pub endpoints: u64,
    /// Requests whose method is not among those that are told apart.
    pub methods: u64,
    /// Requests whose authority found no room.
    pub authorities: u64,
    /// Requests whose combination of these found no room.
    pub groups: u64,
    /// Events that found no room, or are of a kind that is not known.
    pub events: u64,
}

impl Snapshot {
    pub(crate) fn of(store: &Store) -> Self {
        let folded = store.folded.iter().fold(Folded::default(), |sum, folded| Folded {
            endpoints: sum.endpoints + folded.endpoints.load(Ordering::Relaxed),
            methods: sum.methods + folded.methods.load(Ordering::Relaxed),
            authorities: sum.authorities + folded.authorities.load(Ordering::Relaxed),
            groups: sum.groups + folded.groups.load(Ordering::Relaxed),
            ..sum
        });
        let events = store.events.lost.load(Ordering::Relaxed);
        let requests = |place| Requests::of(store.side(place), &store.labels);
        let (counts, breakers) = (store.events.counts(), store.events.breakers());
        Self {
            calls: requests(Place::Calls),
            attempts: requests(Place::Attempts),
            served: requests(Place::Served),
            events: counts.into_iter().map(|count| EventCount::of(count, &store.labels)).collect(),
            breakers: breakers
                .into_iter()
                .map(|breaker| BreakerState::of(breaker, &store.labels))
                .collect(),
            folded: Folded { events, ..folded },
        }
    }

    /// How many attempts a call took on average; nothing, if there was none.
    pub fn attempts_per_call(&self) -> Option<f64> {
        let calls = self.calls.count();
        (calls != 0).then(|| self.attempts.count() as f64 / calls as f64)
    }

    /// What was counted since an earlier snapshot of the same registry. Gauges
    /// are as they are in this one.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            calls: self.calls.since(&earlier.calls),
            attempts: self.attempts.since(&earlier.attempts),
            served: self.served.since(&earlier.served),
            events: self.events.iter().filter_map(|event| event.since(&earlier.events)).collect(),
            breakers: self.breakers.clone(),
            folded: Folded {
                events: self.folded.events.saturating_sub(earlier.folded.events),
                endpoints: self.folded.endpoints.saturating_sub(earlier.folded.endpoints),
                methods: self.folded.methods.saturating_sub(earlier.folded.methods),
                authorities: self.folded.authorities.saturating_sub(earlier.folded.authorities),
                groups: self.folded.groups.saturating_sub(earlier.folded.groups),
            },
        }
    }
}

impl EventCount {
    fn of(count: &Count, labels: &Labels) -> Self {
        let key = count.key;
        let status = |end: End| (end.status != 0).then(|| end.status.to_string());
        let cause = |end: End| end.error_name().map(ToOwned::to_owned).or_else(|| status(end));
        Self {
            event: key.what.name().to_owned(),
            reason: key.reason.to_owned(),
            from: key.from.to_owned(),
            cause: key.cause.and_then(cause),
            method: labels.endpoint_method(key.endpoint).map(ToOwned::to_owned),
            endpoint: labels.endpoint_name(key.endpoint).map(ToOwned::to_owned),
            authority: labels.authority_name(key.authority).map(ToOwned::to_owned),
            port: labels.port(key.authority),
            count: count.count.load(Ordering::Relaxed),
            times: count.times.times(),
        }
    }

    fn since(&self, earlier: &[Self]) -> Option<Self> {
        let Some(before) = earlier.iter().find(|before| before.name() == self.name()) else {
            return Some(self.clone());
        };
        let count = self.count.saturating_sub(before.count);
        let times = self.times.since(&before.times);
        (count != 0).then(|| Self { count, times, ..self.clone() })
    }

    /// All that it is known by.
    fn name(&self) -> impl PartialEq + '_ {
        let Self { event, reason, from, cause, method, endpoint, authority, .. } = self;
        (event, reason, from, cause, method, endpoint, authority)
    }
}

impl BreakerState {
    /// All states that a breaker may be in, in snake case.
    pub const STATES: [&'static str; 7] = STATES;

    fn of(breaker: &Breaker, labels: &Labels) -> Self {
        Self {
            method: labels.endpoint_method(breaker.endpoint).map(ToOwned::to_owned),
            endpoint: labels.endpoint_name(breaker.endpoint).map(ToOwned::to_owned),
            authority: labels.authority_name(breaker.authority).map(ToOwned::to_owned),
            port: labels.port(breaker.authority),
            state: breaker.state().to_owned(),
        }
    }
}

use std::{collections::BTreeMap, sync::atomic::Ordering};

use palisade_core::ErrorKind;

use crate::{
    Times,
    events::{Breaker, Count},
    group::{End, Group, OUTCOME_NAMES, OUTCOMES},
    labels::Labels,
    store::{Side, Store},
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
    /// `would_refuse`.
    pub event: String,
    /// Why a call was given up or refused; the state that a breaker went to.
    pub reason: String,
    /// The kind of layer that refused; the state that a breaker came from.
    pub from: String,
    /// What was retried: a status, or a kind of error.
    pub cause: Option<String>,
    /// The template of the endpoint, if the layer knows it.
    pub endpoint: Option<String>,
    /// Host and port, if the layer knows them.
    pub authority: Option<String>,
    /// How often.
    pub count: u64,
}

/// The state of a breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct BreakerState {
    /// The template of the endpoint that it is for, if it is for one.
    pub endpoint: Option<String>,
    /// Host and port that it is for, if it is for one.
    pub authority: Option<String>,
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

/// What was counted at one place of the stack.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Requests {
    /// Each combination of endpoint, method and authority.
    pub groups: Vec<RequestGroup>,
    /// How often the service failed before it was ready for a request.
    pub unready: u64,
}

/// Requests of one endpoint, method and authority.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct RequestGroup {
    /// The template of the endpoint, if the requests have one.
    pub endpoint: Option<String>,
    /// The method.
    pub method: String,
    /// Host and port, if the requests name them.
    pub authority: Option<String>,
    /// How many have not ended.
    pub in_flight: u64,
    /// How many have become streams, upgraded connections or tunnels, and have
    /// not ended. They count as done since their head.
    pub streams: u64,
    /// How many bytes of bodies were to be sent, as far as requests say so.
    pub sent: u64,
    /// How many bytes of bodies have come.
    pub received: u64,
    /// How many responses were given up before the end of their body.
    pub unread: u64,
    /// How many came to each outcome.
    pub outcomes: Outcomes,
    /// How they ended, and how long they took.
    pub results: Vec<RequestResult>,
}

/// How many requests came to each [`Outcome`](palisade_core::Outcome).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Outcomes {
    counts: [u64; OUTCOMES],
}

/// Requests that ended in the same way.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct RequestResult {
    /// The status of the response, if there was one.
    pub status: Option<u16>,
    /// What went wrong: a kind of error, or `_OTHER` for results that found no
    /// room.
    pub error: Option<String>,
    /// From the request to the end of the response's body, or to the error.
    pub times: Times,
    /// From the request to the head of the response; of attempts alone.
    pub head_times: Times,
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
        let (counts, breakers) = (store.events.counts(), store.events.breakers());
        Self {
            calls: Requests::of(&store.calls, &store.labels),
            attempts: Requests::of(&store.attempts, &store.labels),
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
            endpoint: labels.endpoint_name(key.endpoint).map(ToOwned::to_owned),
            authority: labels.authority_name(key.authority).map(ToOwned::to_owned),
            count: count.count.load(Ordering::Relaxed),
        }
    }

    fn since(&self, earlier: &[Self]) -> Option<Self> {
        let same = |before: &&Self| Self { count: self.count, ..(*before).clone() } == *self;
        let before = earlier.iter().find(same).map_or(0, |before| before.count);
        let count = self.count.saturating_sub(before);
        (count != 0).then(|| Self { count, ..self.clone() })
    }
}

impl BreakerState {
    fn of(breaker: &Breaker, labels: &Labels) -> Self {
        Self {
            endpoint: labels.endpoint_name(breaker.endpoint).map(ToOwned::to_owned),
            authority: labels.authority_name(breaker.authority).map(ToOwned::to_owned),
            state: breaker.state().to_owned(),
        }
    }
}

impl Requests {
    fn of(side: &Side, labels: &Labels) -> Self {
        let groups = side.groups().into_iter().map(|group| RequestGroup::of(group, labels));
        Self {
            groups: groups.filter(|group| !group.is_empty()).collect(),
            unready: side.unready.load(Ordering::Relaxed),
        }
    }

    /// How many have ended.
    pub fn count(&self) -> u64 {
        self.groups.iter().map(RequestGroup::count).sum()
    }

    /// How long all of them took.
    pub fn times(&self) -> Times {
        merged(self.groups.iter().flat_map(|group| &group.results))
    }

    /// Those of an endpoint, whatever their authority.
    pub fn endpoint(&self, method: &str, template: &str) -> Self {
        let is = |group: &&RequestGroup| {
            group.method == method && group.endpoint.as_deref() == Some(template)
        };
        Self { groups: self.groups.iter().filter(is).cloned().collect(), unready: 0 }
    }

    /// How many came to each outcome.
    pub fn outcomes(&self) -> Outcomes {
        self.groups.iter().fold(Outcomes::default(), |sum, group| sum.plus(group.outcomes))
    }

    /// Which share succeeded: see [`Outcomes::success_rate`].
    pub fn success_rate(&self) -> Option<f64> {
        self.outcomes().success_rate()
    }

    /// How many were answered with this status.
    pub fn status(&self, status: u16) -> u64 {
        self.count_of(|result| result.status == Some(status))
    }

    /// How many failed with an error of this kind.
    pub fn errors(&self, kind: ErrorKind) -> u64 {
        self.count_of(|result| result.error.as_deref() == Some(kind.as_str()))
    }

    fn count_of(&self, is: impl Fn(&RequestResult) -> bool) -> u64 {
        let results = self.groups.iter().flat_map(|group| &group.results);
        results.filter(|result| is(result)).map(|result| result.times.count()).sum()
    }

    /// How many have not ended.
    pub fn in_flight(&self) -> u64 {
        self.groups.iter().map(|group| group.in_flight).sum()
    }

    /// How many have become streams, and have not ended.
    pub fn streams(&self) -> u64 {
        self.groups.iter().map(|group| group.streams).sum()
    }

    /// How many bytes of bodies were to be sent.
    pub fn sent(&self) -> u64 {
        self.groups.iter().map(|group| group.sent).sum()
    }

    /// How many bytes of bodies have come.
    pub fn received(&self) -> u64 {
        self.groups.iter().map(|group| group.received).sum()
    }

    fn since(&self, earlier: &Self) -> Self {
        let groups = self.groups.iter().map(|group| {
            let before = earlier.groups.iter().find(|before| before.is_same(group));
            before.map_or_else(|| group.clone(), |before| group.since(before))
        });
        Self {
            groups: groups.filter(|group| !group.is_empty()).collect(),
            unready: self.unready.saturating_sub(earlier.unready),
        }
    }
}

impl RequestGroup {
    fn of(group: &Group, labels: &Labels) -> Self {
        let kind = group.kind;
        let mut outcomes = Outcomes::default();
        let mut results: BTreeMap<End, RequestResult> = BTreeMap::new();
        for series in group.all() {
            let (times, head_times) = (series.total.times(), series.head.times());
            outcomes.counts[series.outcome.index()] += times.count();
            let result = results.entry(series.result).or_insert_with(|| series.result.into());
            result.times.merge(&times);
            result.head_times.merge(&head_times);
        }
        Self {
            endpoint: labels.endpoint_name(kind.endpoint).map(ToOwned::to_owned),
            method: labels.method_name(kind.method).to_owned(),
            authority: labels.authority_name(kind.authority).map(ToOwned::to_owned),
            in_flight: group.gauge(|counts| &counts.in_flight),
            streams: group.gauge(|counts| &counts.streams),
            sent: group.sum(|counts| &counts.sent),
            received: group.sum(|counts| &counts.received),
            unread: group.sum(|counts| &counts.unread),
            outcomes,
            results: results.into_values().collect(),
        }
    }

    /// How many have ended.
    pub fn count(&self) -> u64 {
        self.results.iter().map(|result| result.times.count()).sum()
    }

    /// How long all of them took.
    pub fn times(&self) -> Times {
        merged(&self.results)
    }

    fn is_same(&self, other: &Self) -> bool {
        let labels = |group: &Self| (group.endpoint.clone(), group.authority.clone());
        self.method == other.method && labels(self) == labels(other)
    }

    fn is_empty(&self) -> bool {
        self.in_flight == 0 && self.streams == 0 && self.count() == 0
    }

    fn since(&self, earlier: &Self) -> Self {
        let results = self.results.iter().map(|result| {
            let is = |before: &&RequestResult| {
                (before.status, &before.error) == (result.status, &result.error)
            };
            match earlier.results.iter().find(is) {
                None => result.clone(),
                Some(before) => RequestResult {
                    times: result.times.since(&before.times),
                    head_times: result.head_times.since(&before.head_times),
                    ..result.clone()
                },
            }
        });
        let counted =
            |result: &RequestResult| result.times.count() + result.head_times.count() != 0;
        Self {
            sent: self.sent.saturating_sub(earlier.sent),
            received: self.received.saturating_sub(earlier.received),
            unread: self.unread.saturating_sub(earlier.unread),
            outcomes: self.outcomes.minus(earlier.outcomes),
            results: results.filter(counted).collect(),
            ..self.clone()
        }
    }
}

impl From<End> for RequestResult {
    fn from(end: End) -> Self {
        Self {
            status: (1..=999).contains(&end.status).then_some(end.status),
            error: end.error_name().map(ToOwned::to_owned),
            times: Times::default(),
            head_times: Times::default(),
        }
    }
}

impl Outcomes {
    /// How many came to the outcome of this name: `success`, `rejected`,
    /// `throttled`, `transient`, `failed`, `unsent`, `refused`, `ignored`.
    pub fn of(&self, name: &str) -> u64 {
        self.iter().find(|(other, _)| *other == name).map_or(0, |(_, count)| count)
    }

    /// Each outcome, and how many came to it.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        OUTCOME_NAMES.into_iter().zip(self.counts)
    }

    /// Which share of those that say something about the service succeeded, or
    /// were rejected by a service that works. Nothing, if there are none.
    pub fn success_rate(&self) -> Option<f64> {
        let well = self.of("success") + self.of("rejected");
        let all = self.counts.iter().sum::<u64>() - self.of("ignored") - self.of("other");
        (all != 0).then(|| well as f64 / all as f64)
    }

    fn plus(self, other: Self) -> Self {
        Self { counts: std::array::from_fn(|index| self.counts[index] + other.counts[index]) }
    }

    fn minus(self, other: Self) -> Self {
        let left = |index: usize| self.counts[index].saturating_sub(other.counts[index]);
        Self { counts: std::array::from_fn(left) }
    }
}

fn merged<'a>(results: impl IntoIterator<Item = &'a RequestResult>) -> Times {
    let mut all = Times::default();
    results.into_iter().for_each(|result| all.merge(&result.times));
    all
}

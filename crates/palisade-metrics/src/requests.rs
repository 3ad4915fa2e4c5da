use std::{collections::BTreeMap, sync::atomic::Ordering};

use palisade_core::ErrorKind;

use crate::{
    Times,
    group::{End, Group, OUTCOME_NAMES, OUTCOMES},
    labels::Labels,
    store::Side,
};

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
    /// The port: as it is named, or else that of the scheme of the first
    /// request.
    pub port: Option<u16>,
    /// How many have not ended.
    pub in_flight: u64,
    /// How many have become streams, upgraded connections or tunnels, and have
    /// a body that has not ended. They count as done since their head. hyper
    /// hands connections out beside the response, whose body is then empty.
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
///
/// Stored by their names; a name that is not known counts as `other`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(into = "Stored", from = "Stored"))]
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

/// What the labels of a group say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Names<'a> {
    endpoint: Option<&'a str>,
    method: &'a str,
    authority: Option<&'a str>,
}

impl<'a> Names<'a> {
    fn of(group: &Group, labels: &'a Labels) -> Self {
        let kind = group.kind;
        Self {
            endpoint: labels.endpoint_name(kind.endpoint),
            method: labels.method_name(kind.method),
            authority: labels.authority_name(kind.authority),
        }
    }
}

impl Requests {
    pub(crate) fn of(side: &Side, labels: &Labels) -> Self {
        // What differs in its numbers may be called the same: after a redirect, a GET may have the
        // endpoint of a POST, and a host may be called `_OTHER`.
        let mut by_names: BTreeMap<_, Vec<&Group>> = BTreeMap::new();
        for group in side.groups() {
            by_names.entry(Names::of(group, labels)).or_default().push(group);
        }
        let groups =
            by_names.into_iter().map(|(names, groups)| RequestGroup::of(names, &groups, labels));
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

    pub(crate) fn since(&self, earlier: &Self) -> Self {
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
    fn of(names: Names<'_>, groups: &[&Group], labels: &Labels) -> Self {
        let mut outcomes = Outcomes::default();
        let mut results: BTreeMap<End, RequestResult> = BTreeMap::new();
        for series in groups.iter().flat_map(|group| group.all()) {
            let (times, head_times) = (series.total.times(), series.head.times());
            outcomes.counts[series.outcome.index()] += times.count();
            let result = results.entry(series.result).or_insert_with(|| series.result.into());
            result.times.merge(&times);
            result.head_times.merge(&head_times);
        }
        let results = results.into_values().filter(|result| !result.is_empty()).collect();
        let all = |of: fn(&Group) -> u64| groups.iter().map(|group| of(group)).sum::<u64>();
        Self {
            endpoint: names.endpoint.map(ToOwned::to_owned),
            method: names.method.to_owned(),
            authority: names.authority.map(ToOwned::to_owned),
            port: groups.iter().find_map(|group| labels.port(group.kind.authority)),
            in_flight: all(|group| group.gauge(|counts| &counts.in_flight)),
            streams: all(|group| group.gauge(|counts| &counts.streams)),
            sent: all(|group| group.sum(|counts| &counts.sent)),
            received: all(|group| group.sum(|counts| &counts.received)),
            unread: all(|group| group.sum(|counts| &counts.unread)),
            outcomes,
            results,
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
        (&self.endpoint, &self.method, &self.authority)
            == (&other.endpoint, &other.method, &other.authority)
    }

    /// Whether it says nothing. Of an interval that ends a stream there may be
    /// but bytes, and of one that was read amid a request's end as well.
    fn is_empty(&self) -> bool {
        let counts = [self.in_flight, self.streams, self.sent, self.received, self.unread];
        counts == [0; 5] && self.results.iter().all(RequestResult::is_empty)
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
        Self {
            sent: self.sent.saturating_sub(earlier.sent),
            received: self.received.saturating_sub(earlier.received),
            unread: self.unread.saturating_sub(earlier.unread),
            outcomes: self.outcomes.minus(earlier.outcomes),
            results: results.filter(|result| !result.is_empty()).collect(),
            ..self.clone()
        }
    }
}

impl RequestResult {
    fn is_empty(&self) -> bool {
        self.times.count() + self.head_times.count() == 0
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

#[cfg(feature = "serde")]
type Stored = BTreeMap<String, u64>;

#[cfg(feature = "serde")]
impl From<Outcomes> for Stored {
    fn from(outcomes: Outcomes) -> Self {
        let counted = outcomes.iter().filter(|(_, count)| *count != 0);
        counted.map(|(name, count)| (name.to_owned(), count)).collect()
    }
}

#[cfg(feature = "serde")]
impl From<Stored> for Outcomes {
    fn from(stored: Stored) -> Self {
        stored.into_iter().fold(Self::default(), |mut outcomes, (name, count)| {
            let index = OUTCOME_NAMES.iter().position(|known| *known == name);
            let counted = &mut outcomes.counts[index.unwrap_or(OUTCOMES - 1)];
            *counted = counted.saturating_add(count);
            outcomes
        })
    }
}

fn merged<'a>(results: impl IntoIterator<Item = &'a RequestResult>) -> Times {
    let mut all = Times::default();
    results.into_iter().for_each(|result| all.merge(&result.times));
    all
}

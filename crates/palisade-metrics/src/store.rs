use std::sync::atomic::{AtomicU64, Ordering};

use http::Method;
use palisade_core::Endpoint;

use crate::{
    events::Events,
    group::{Group, Kind},
    labels::{Caps, Label, Labels},
    stripes::Striped,
    table::Table,
};

/// All that a registry counts.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) labels: Labels,
    pub(crate) calls: Side,
    pub(crate) attempts: Side,
    pub(crate) folded: Striped<Folded>,
    pub(crate) events: Events,
}

/// What is counted at one place of the stack.
#[derive(Debug)]
pub(crate) struct Side {
    groups: Table<Group>,
    // Where all go that there is no room for.
    rest: Group,
    pub(crate) unready: AtomicU64,
}

/// How often a label had no room for a value.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    pub(crate) endpoints: AtomicU64,
    pub(crate) methods: AtomicU64,
    pub(crate) authorities: AtomicU64,
    pub(crate) groups: AtomicU64,
}

/// The place of a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupId(u32);

/// Which place of the stack it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Outside of retry: what the caller sees.
    Calls,
    /// Inside: what goes over the wire.
    Attempts,
}

impl Store {
    pub(crate) fn new(caps: Caps, groups: usize, methods: &[Method]) -> Self {
        Self {
            labels: Labels::new(caps, methods),
            calls: Side::new(groups),
            attempts: Side::new(groups),
            folded: Striped::new(Folded::default),
            events: Events::new(),
        }
    }

    pub(crate) fn side(&self, place: Place) -> &Side {
        match place {
            Place::Calls => &self.calls,
            Place::Attempts => &self.attempts,
        }
    }

    /// The group of a request.
    #[inline]
    pub(crate) fn group(
        &self,
        place: Place,
        endpoint: Option<&'static Endpoint>,
        method: &Method,
        authority: Option<&str>,
    ) -> GroupId {
        let kind = Kind {
            endpoint: self.labels.endpoint(endpoint),
            method: self.labels.method(method),
            authority: self.labels.authority(authority),
        };
        let hash = self.labels.hash(&kind);
        let groups = &self.side(place).groups;
        let found = groups.find_or_insert(hash, |group| group.kind == kind, || Group::new(kind));
        self.count_folded(kind, found.is_none());
        GroupId(found.map_or(u32::MAX, |index| index as u32))
    }

    #[inline]
    fn count_folded(&self, kind: Kind, whole: bool) {
        let others =
            [kind.endpoint, kind.method, kind.authority].map(|label| label == Label::OTHER);
        if others == [false; 3] && !whole {
            return;
        }
        let folded = self.folded.mine();
        let counters = [&folded.endpoints, &folded.methods, &folded.authorities, &folded.groups];
        for (counter, folds) in counters.into_iter().zip(others.into_iter().chain([whole])) {
            counter.fetch_add(u64::from(folds), Ordering::Relaxed);
        }
    }

    #[inline]
    pub(crate) fn at(&self, place: Place, id: GroupId) -> &Group {
        let side = self.side(place);
        side.groups.get(id.0 as usize).unwrap_or(&side.rest)
    }
}

impl Side {
    fn new(groups: usize) -> Self {
        let other = Kind { endpoint: Label::OTHER, method: Label::OTHER, authority: Label::OTHER };
        Self { groups: Table::new(groups), rest: Group::new(other), unready: AtomicU64::new(0) }
    }

    /// All groups, in the order of their labels' numbers.
    pub(crate) fn groups(&self) -> Vec<&Group> {
        let mut groups: Vec<_> = self.groups.iter().map(|(_, group)| group).collect();
        groups.push(&self.rest);
        groups.sort_unstable_by_key(|group| group.kind);
        groups
    }
}

use std::{
    array,
    sync::atomic::{AtomicU64, Ordering},
};

use http::{Method, uri::Scheme};
use palisade_core::{Endpoint, Head, Target};

use crate::{
    clock::Clock,
    events::Events,
    group::{Group, Kind},
    labels::{Caps, Label, Labels, Says},
    stripes::Striped,
    table::Table,
};

/// All that a registry counts.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) clock: Clock,
    pub(crate) labels: Labels,
    sides: [Side; 3],
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
    /// On a server: what clients ask for.
    Served,
}

impl Place {
    /// What requests are told apart by beside their endpoint and method, as it
    /// is written. On a server it is what a client makes up.
    #[inline]
    pub(crate) fn authority(self, head: Head<'_>) -> Option<&str> {
        match (self, head.uri.authority()) {
            (Self::Served, _) => None,
            (_, Some(authority)) => Some(authority.as_str()),
            (_, None) => head.authority(),
        }
    }
}

impl Store {
    pub(crate) fn new(clock: Clock, caps: Caps, groups: usize, methods: &[Method]) -> Self {
        Self {
            clock,
            labels: Labels::new(caps, methods),
            sides: array::from_fn(|_| Side::new(groups)),
            folded: Striped::new(Folded::default),
            events: Events::new(),
        }
    }

    pub(crate) fn side(&self, place: Place) -> &Side {
        &self.sides[place as usize]
    }

    /// The group of a request.
    #[inline]
    pub(crate) fn group(
        &self,
        place: Place,
        endpoint: Option<&'static Endpoint>,
        method: &Method,
        authority: Option<&str>,
        scheme: Option<&Scheme>,
    ) -> GroupId {
        let says = Says { endpoint, method, authority, scheme };
        let hash = self.labels.hash(&says);
        let groups = &self.side(place).groups;
        let found = groups.find(hash, |group| self.labels.say(group.kind, says));
        GroupId(found.unwrap_or_else(|| self.sort(groups, says)) as u32)
    }

    /// Finds the labels of a request one by one. By what it says it is found
    /// the next time, if there is room for all of that and no password in it.
    #[cold]
    fn sort(&self, groups: &Table<Group>, says: Says<'_>) -> usize {
        let authority = Target::new(None, None, says.authority).authority;
        let says = Says { authority, ..says };
        let kind = self.labels.of(says);
        let hash = if kind.is_folded() { self.labels.hash(&kind) } else { self.labels.hash(&says) };
        let found = groups.find_or_insert(hash, |group| group.kind == kind, || Group::new(kind));
        self.count_folded(kind, found.is_none());
        found.unwrap_or(usize::MAX)
    }

    fn count_folded(&self, kind: Kind, whole: bool) {
        if !kind.is_folded() && !whole {
            return;
        }
        let others = kind.labels().map(|label| label == Label::OTHER);
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

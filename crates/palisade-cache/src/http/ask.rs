//! What a request asks for, and what is found for it.

use std::time::SystemTime;

use http::{HeaderMap, Method, StatusCode, Uri, header};
use palisade_core::{Endpoint, Target, is_safe};

use super::{
    entry::{Entry, StoredHead, Variant},
    key::{CacheKey, CacheKeyRef},
    partition::COMMON,
    status::CacheStatus,
    store::{Peek, Store},
};
use crate::rules::{
    answer::{Answer, Held, Stored},
    cache_status::Forward,
    lookup::{Demand, Lookup},
};

/// A request without its body, kept while it is sent on.
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) endpoint: Option<&'static Endpoint>,
    pub(crate) key: CacheKey,
    pub(crate) demand: Demand,
    pub(crate) route: Option<usize>,
}

impl Ask {
    /// What observers are told of it.
    pub(crate) fn target(&self) -> Target<'_> {
        let host = || self.headers.get(header::HOST)?.to_str().ok();
        let authority = self.uri.authority().map(http::uri::Authority::as_str);
        Target::new(self.endpoint, Some(&self.method), authority.or_else(host))
    }

    /// Whether it may change what is stored for others.
    pub(crate) fn writes(&self) -> bool {
        self.key.body().is_none() && !is_safe(&self.method)
    }

    /// Whether what is stored is looked at.
    pub(crate) fn reads(&self) -> bool {
        self.demand.reads() && !self.writes()
    }

    /// Whether a response to it may be fetched together with others.
    pub(crate) fn is_plain(&self) -> bool {
        is_plain(&self.method, &self.headers, self.key.borrowed(), &self.demand)
    }

    /// What to do with a response that another request was answered with.
    pub(crate) fn takes(&self, head: &StoredHead, now: SystemTime) -> bool {
        let takes = |lookup| matches!(lookup, Lookup::Fresh { .. } | Lookup::Stale { .. });
        head.status != StatusCode::PARTIAL_CONTENT
            && head.selector.matches(&self.headers)
            && takes(self.demand.look_up(&head.policy, now))
    }

    /// How it is answered with what is stored.
    pub(crate) fn answer(&self, variant: &Variant) -> Answer {
        answer(&self.method, &self.headers, variant)
    }
}

/// Whether a request asks for the whole, and not whether something is still the same, and takes
/// what was asked for by another one just before.
pub(crate) fn is_plain(
    method: &Method,
    headers: &HeaderMap,
    key: CacheKeyRef<'_>,
    demand: &Demand,
) -> bool {
    (*method == Method::GET || key.has_body())
        && *demand == Demand::default()
        && !headers.contains_key(header::RANGE)
        && !headers.contains_key(header::IF_NONE_MATCH)
        && !headers.contains_key(header::IF_MODIFIED_SINCE)
}

/// How a request is answered with a stored response.
pub(crate) fn answer(method: &Method, request: &HeaderMap, variant: &Variant) -> Answer {
    let head = &variant.head;
    let body = match &head.part {
        Some(part) => Held::Part(part),
        None => Held::All(variant.body.len() as u64),
    };
    let stored = Stored { status: head.status, head: &head.headers, body, received: head.received };
    Answer::of(method, request, &stored)
}

/// What is stored for a request: in its own partition, and for all.
#[derive(Clone, Default)]
pub(crate) struct Found {
    pub(crate) own: Option<Entry>,
    pub(crate) common: Option<Entry>,
    /// What is for all was looked for.
    pub(crate) looked: bool,
}

/// A stored response that is for a request.
#[derive(Clone)]
pub(crate) struct Selected {
    pub(crate) variant: Variant,
    /// It is stored for all.
    pub(crate) common: bool,
}

impl Found {
    /// Looks without waiting: for what is for all only if the partition has
    /// nothing fresh for the request. Nothing, if the store has to be asked.
    pub(crate) fn peek<T: Store>(
        store: &T,
        key: CacheKeyRef<'_>,
        request: &HeaderMap,
        demand: &Demand,
        now: SystemTime,
    ) -> Option<Self> {
        let look = |key| match store.peek(key) {
            Peek::Found(entry) => Some(Some(entry)),
            Peek::Absent => Some(None),
            Peek::Ask => None,
        };
        let mut found = Self { own: look(key)?, common: None, looked: false };
        if key.is_of_credentials() && !found.is_enough(request, demand, now) {
            (found.common, found.looked) = (look(key.within(&COMMON))?, true);
        }
        Some(found)
    }

    /// Whether what is for all does not have to be looked for: there is something
    /// of its own for the request, and that is fresh.
    pub(crate) fn is_enough(&self, request: &HeaderMap, demand: &Demand, now: SystemTime) -> bool {
        let own = self.own.as_ref().and_then(|own| own.select(request));
        own.is_some_and(|own| own.is_fresh(demand, now))
    }

    /// The response that is for the request: its own, if that is fresh, and else the
    /// one that was asked for last. Of those for all only one that says that it is.
    pub(crate) fn select(
        &self,
        request: &HeaderMap,
        demand: &Demand,
        now: SystemTime,
    ) -> Option<Selected> {
        let selected = |variant, common| Selected { variant: Variant::clone(variant), common };
        let own = self.own.as_ref().and_then(|own| own.select(request));
        let common = self.common.as_ref().and_then(|common| common.select_public(request));
        match (own, common) {
            (Some(own), _) if own.is_fresh(demand, now) => Some(selected(own, false)),
            // However fresh the one for all is: who has seen what is newer does not go back.
            (Some(own), Some(common)) if common.stamp() < own.stamp() => Some(selected(own, false)),
            (_, Some(common)) => Some(selected(common, true)),
            (own, None) => own.map(|own| selected(own, false)),
        }
    }

    fn is_empty(&self) -> bool {
        self.own.is_none() && self.common.is_none()
    }
}

/// What is to be done with a request.
pub(crate) enum Decision {
    /// It is answered with what is stored.
    Answer { variant: Variant, answer: Answer, age: u32, status: CacheStatus },
    /// The same, and the origin is asked meanwhile.
    Refresh { selected: Selected, answer: Answer, age: u32 },
    /// The origin is asked.
    Ask { selected: Option<Selected>, why: Forward },
    /// Nothing is stored, and the origin must not be asked.
    Unavailable,
}

impl Decision {
    pub(crate) fn of(
        found: &Found,
        method: &Method,
        request: &HeaderMap,
        demand: &Demand,
        now: SystemTime,
    ) -> Self {
        let miss = |why| match demand.may_ask() {
            true => Self::Ask { selected: None, why },
            false => Self::Unavailable,
        };
        let Some(selected) = found.select(request, demand, now) else {
            return miss(if found.is_empty() { Forward::UriMiss } else { Forward::VaryMiss });
        };
        let variant = &selected.variant;
        let answer = answer(method, request, variant);
        if answer == Answer::Forward {
            return match miss(Forward::Partial) {
                // It is a part of what is asked for, maybe.
                Self::Ask { why, .. } => Self::Ask { selected: Some(selected), why },
                other => other,
            };
        }
        let hit = |age, status| {
            let variant = variant.clone();
            Self::Answer { variant, answer, age, status }
        };
        match demand.look_up(&variant.head.policy, now) {
            Lookup::Fresh { age } => hit(age, CacheStatus::Hit),
            Lookup::Stale { age } => hit(age, CacheStatus::Stale),
            // The origin must not be asked, not even in the background.
            Lookup::Revalidating { age } if !demand.may_ask() => hit(age, CacheStatus::Stale),
            Lookup::Revalidating { age } => Self::Refresh { selected, answer, age },
            Lookup::Validate(why) => Self::Ask { selected: Some(selected), why: why.into() },
            Lookup::Unavailable => Self::Unavailable,
        }
    }
}

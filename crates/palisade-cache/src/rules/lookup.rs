//! Whether a stored response is used: RFC 9111, section 4, RFC 5861 and RFC 8246.

use std::time::SystemTime;

use http::{
    HeaderMap, HeaderValue,
    header::{CACHE_CONTROL, PRAGMA},
};

use super::{
    cache_status::Forward, directives::request::RequestDirectives, fields, policy::Policy,
};

/// How a request wants the cache to be used, with the names of Fetch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As HTTP has it.
    #[default]
    Default,
    /// As if there were no cache.
    NoStore,
    /// The response comes from the origin, and is stored.
    Reload,
    /// The origin is asked whether what is stored is still the same.
    NoCache,
    /// What is stored is used, however stale it is and whatever it says of that.
    ForceCache,
    /// The same, and the origin is not asked at all.
    OnlyIfCached,
}

/// What a request wants of the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Demand {
    pub(crate) mode: Mode,
    pub(crate) directives: RequestDirectives,
}

/// What is to be done with a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// It is used.
    Fresh { age: u32 },
    /// It is stale, and used: the request does not mind.
    Stale { age: u32 },
    /// It is stale, and used while the origin is asked for another one.
    Revalidating { age: u32 },
    /// The origin is asked first: with conditions, if there is a validator.
    Validate(Why),
    /// Nothing is used, and the origin is not asked: 504.
    Unavailable,
}

/// Why the origin is asked although there is a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Stale,
    /// The request wants it so.
    Request,
    /// The response has `no-cache`.
    NoCache,
}

impl Demand {
    pub(crate) fn of(mode: Mode, request: &HeaderMap) -> Self {
        Self { mode, directives: RequestDirectives::of(request) }
    }

    /// Whether stored responses are looked at.
    pub(crate) fn reads(&self) -> bool {
        !matches!(self.mode, Mode::NoStore | Mode::Reload) && !self.directives.no_store
    }

    /// Whether the response may be stored, as far as the request goes.
    pub(crate) fn stores(&self) -> bool {
        self.mode != Mode::NoStore && !self.directives.no_store
    }

    /// Whether the origin may be asked. If not, what is not stored is a 504.
    pub(crate) fn may_ask(&self) -> bool {
        self.mode != Mode::OnlyIfCached && !self.directives.only_if_cached
    }

    /// Why the request goes to the origin, before anything is looked at. One that writes does so
    /// whatever it wants.
    pub(crate) fn why_forwarded(&self, writes: bool) -> Forward {
        match self.mode {
            _ if writes => Forward::Method,
            Mode::NoStore => Forward::Bypass,
            _ => Forward::Request,
        }
    }

    /// Says to the caches on the way what is wanted here, as Fetch does.
    pub(crate) fn tell(&self, request: &mut HeaderMap) {
        let value = match self.mode {
            Mode::NoCache => HeaderValue::from_static("max-age=0"),
            Mode::NoStore | Mode::Reload => HeaderValue::from_static("no-cache"),
            Mode::Default | Mode::ForceCache | Mode::OnlyIfCached => return,
        };
        if self.mode != Mode::NoCache && !request.contains_key(PRAGMA) {
            fields::set(request, PRAGMA, value.clone());
        }
        if !request.contains_key(CACHE_CONTROL) {
            fields::set(request, CACHE_CONTROL, value);
        }
    }

    /// What is to be done with the response that is stored for the request.
    pub(crate) fn look_up(&self, policy: &Policy, now: SystemTime) -> Lookup {
        match self.judge(policy, now) {
            Lookup::Validate(_) if !self.may_ask() => Lookup::Unavailable,
            Lookup::Revalidating { age } if !self.may_ask() => Lookup::Stale { age },
            lookup => lookup,
        }
    }

    /// The age of the response, if it is used in place of an error: RFC 5861,
    /// section 4.
    ///
    /// Whoever calls this knows that it is for the same request as ever: what
    /// `Vary` or a partition tells apart is not mixed up by errors.
    pub(crate) fn in_place_of_error(&self, policy: &Policy, now: SystemTime) -> Option<u32> {
        let asked = &self.directives;
        if policy.is_no_cache() || policy.is_never_stale() || asked.no_cache || !self.reads() {
            return None;
        }
        let soft = matches!(self.mode, Mode::NoCache) || self.wants_fresh();
        let bound = match (asked.stale_if_error, asked.max_stale) {
            (Some(bound), _) => bound,
            (None, Some(max_stale)) => policy.if_error.min(max_stale),
            (None, None) if soft => return None,
            (None, None) => policy.if_error,
        };
        let late = policy.late(now).unwrap_or(0);
        (late <= u64::from(bound) * 1000).then(|| policy.age(now))
    }

    fn judge(&self, policy: &Policy, now: SystemTime) -> Lookup {
        let (age, late) = (policy.age(now), policy.late(now));
        if matches!(self.mode, Mode::ForceCache | Mode::OnlyIfCached) {
            return if late.is_some() { Lookup::Stale { age } } else { Lookup::Fresh { age } };
        }
        if policy.is_no_cache() {
            return Lookup::Validate(Why::NoCache);
        }
        if self.directives.no_cache || !self.reads() {
            return Lookup::Validate(Why::Request);
        }
        match late {
            None if self.takes_fresh(policy, now) => Lookup::Fresh { age },
            None => Lookup::Validate(Why::Request),
            Some(_) if self.mode == Mode::NoCache => Lookup::Validate(Why::Request),
            Some(_) if policy.is_never_stale() => Lookup::Validate(Why::Stale),
            Some(late) => self.judge_stale(policy, age, late, now),
        }
    }

    fn takes_fresh(&self, policy: &Policy, now: SystemTime) -> bool {
        let unchanged = policy.is_immutable();
        // RFC 8246: what does not change is not asked for again, if nobody insists.
        let soft = unchanged || self.mode != Mode::NoCache && self.takes_age(policy, now);
        let lifetime = u64::from(policy.lifetime) * 1000;
        let left = lifetime.saturating_sub(policy.age_millis(now));
        soft && self.directives.min_fresh.is_none_or(|fresh| u64::from(fresh) * 1000 <= left)
    }

    fn judge_stale(&self, policy: &Policy, age: u32, late: u64, now: SystemTime) -> Lookup {
        let within = |bound: u32| bound == u32::MAX || late <= u64::from(bound) * 1000;
        let renews = policy.while_revalidating != 0 && within(policy.while_revalidating);
        let takes = match self.directives.max_stale {
            Some(max_stale) => within(max_stale) && self.takes_age(policy, now),
            None => renews && !self.wants_fresh(),
        };
        match takes {
            true if renews => Lookup::Revalidating { age },
            true => Lookup::Stale { age },
            false => Lookup::Validate(Why::Stale),
        }
    }

    /// RFC 9111, section 5.2.1.1. No age at all is a way to say: ask.
    fn takes_age(&self, policy: &Policy, now: SystemTime) -> bool {
        let takes = |max: u32| max != 0 && policy.age_millis(now) <= u64::from(max) * 1000;
        self.directives.max_age.is_none_or(takes)
    }

    /// Whether the request says how fresh it wants the response to be.
    fn wants_fresh(&self) -> bool {
        self.directives.max_age.is_some() || self.directives.min_fresh.is_some()
    }
}

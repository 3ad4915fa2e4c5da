//! What is stored.

mod wire;

use std::{
    fmt, iter,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, Version};

#[cfg(any(test, feature = "__fuzz"))]
pub(crate) use self::wire::body_len;
use super::store::Stamp;
use crate::rules::{
    lookup::{Demand, Lookup},
    partial::Part,
    policy::Policy,
    vary::Selector,
};

/// How many responses for one URI there may be.
const MAX_VARIANTS: usize = 8;

/// What is counted for each variant beside its bytes.
const FIXED: usize = 256;

/// The responses that are stored for one URI, each for other requests: the
/// newest first. It does not change: a store puts another one in its place. Clones
/// share it.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    variants: Option<Arc<[Variant]>>,
    weight: usize,
}

/// One stored response. Clones share it.
#[derive(Clone)]
pub struct Variant {
    pub(crate) head: Arc<StoredHead>,
    pub(crate) body: Bytes,
    stamp: Stamp,
}

/// All of a stored response but its body.
#[derive(Clone)]
pub struct StoredHead {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) policy: Policy,
    pub(crate) selector: Selector,
    /// Which part of the whole the body is, if it is but a part.
    pub(crate) part: Option<Part>,
    /// What came after the body.
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) received: SystemTime,
}

impl Entry {
    /// No variants yet.
    pub const fn new() -> Self {
        Self { variants: None, weight: 0 }
    }

    /// The variants, the newest first.
    pub fn variants(&self) -> &[Variant] {
        self.variants.as_deref().unwrap_or_default()
    }

    /// How many bytes all of it takes, by a careful guess.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// The same with another variant, in place of what it replaces. There are
    /// eight variants at most, of at most so many bytes; the oldest go.
    pub fn with(&self, variant: Variant, most: usize) -> Self {
        let mut weight = variant.weight();
        let mut left = MAX_VARIANTS - 1;
        let mut keeps = |old: &&Variant| {
            let keeps =
                !old.is_for_the_same(&variant) && left != 0 && weight + old.weight() <= most;
            if keeps {
                (left, weight) = (left - 1, weight + old.weight());
            }
            keeps
        };
        let others: Vec<_> = self.variants().iter().filter(&mut keeps).cloned().collect();
        // Most are alone, and then there is but one allocation.
        let variants: Arc<[Variant]> = match others.is_empty() {
            true => Arc::new([variant]),
            false => iter::once(variant).chain(others).collect(),
        };
        Self { variants: Some(variants), weight }
    }

    /// The same, with a fresh variant in place of a stale one. Nothing, if that is
    /// not there.
    pub fn freshened(&self, stale: &Variant, fresh: Variant) -> Option<Self> {
        let (stored, stamp) = (self.variants(), stale.stamp);
        let old = stored.iter().find(|stored| stored.stamp == stamp)?;
        let weight = self.weight - old.weight() + fresh.weight();
        let others = stored.iter().filter(|stored| stored.stamp != stamp);
        // It is the newest now.
        let variants = iter::once(fresh).chain(others.cloned()).collect();
        Some(Self { variants: Some(variants), weight })
    }

    /// The same without some variants. Nothing, if none is left.
    pub(crate) fn filtered(self, keeps: impl Fn(&Variant) -> bool) -> Option<Self> {
        if self.variants().iter().all(&keeps) {
            return Some(self);
        }
        let kept: Arc<[_]> = self.variants().iter().filter(|kept| keeps(kept)).cloned().collect();
        let weight = kept.iter().map(Variant::weight).sum();
        (!kept.is_empty()).then_some(Self { variants: Some(kept), weight })
    }

    /// Whether something that a variant would replace was asked for later.
    pub fn outdates(&self, variant: &Variant) -> bool {
        let later = |old: &&Variant| variant.stamp < old.stamp;
        self.variants().iter().filter(later).any(|old| old.is_for_the_same(variant))
    }

    /// The newest one that is for such a request.
    pub(crate) fn select(&self, request: &HeaderMap) -> Option<&Variant> {
        self.select_if(request, |_| true)
    }

    /// The same, of those that are for all, whoever asks.
    pub(crate) fn select_public(&self, request: &HeaderMap) -> Option<&Variant> {
        self.select_if(request, |head| head.policy.is_public())
    }

    /// RFC 9111, section 4.1: some resources forget `Vary` where a request prefers
    /// nothing, so one that has it goes before one that has not.
    fn select_if(
        &self,
        request: &HeaderMap,
        may: impl Fn(&StoredHead) -> bool,
    ) -> Option<&Variant> {
        let is_for =
            |variant: &&Variant| may(&variant.head) && variant.head.selector.matches(request);
        let mut matching = self.variants().iter().filter(is_for);
        let newest = matching.next()?;
        if !newest.head.selector.is_for_all() {
            return Some(newest);
        }
        Some(matching.find(|variant| !variant.head.selector.is_for_all()).unwrap_or(newest))
    }
}

impl Variant {
    pub(crate) fn new(head: Arc<StoredHead>, body: Bytes, stamp: Stamp) -> Self {
        Self { head, body, stamp }
    }

    /// The same body with another head.
    pub(crate) fn with_head(&self, head: StoredHead, stamp: Stamp) -> Self {
        Self::new(Arc::new(head), self.body.clone(), stamp)
    }

    /// The status, the header fields, and what is known of them.
    pub fn head(&self) -> &StoredHead {
        &self.head
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// When it was asked for.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// How many bytes it takes, by a careful guess.
    pub fn weight(&self) -> usize {
        FIXED + self.body.len() + self.head.weight()
    }

    /// Whether it is this very one.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.head, &other.head)
    }

    pub(crate) fn is_fresh(&self, demand: &Demand, now: SystemTime) -> bool {
        matches!(demand.look_up(&self.head.policy, now), Lookup::Fresh { .. })
    }

    fn is_for_the_same(&self, other: &Self) -> bool {
        self.head.selector == other.head.selector
    }
}

impl StoredHead {
    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The header fields, as they are stored.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The trailer fields, if there are any.
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// How long it is worth keeping from its arrival on.
    pub fn keep(&self) -> Duration {
        self.policy.keep()
    }

    /// When it came, or was last freshened.
    pub fn received(&self) -> SystemTime {
        self.received
    }

    fn weight(&self) -> usize {
        let fields = self.headers.iter().chain(self.trailers.iter().flatten());
        // Beside its bytes, a field has two pointers, and its place.
        fields.map(|(name, value)| name.as_str().len() + value.len() + 96).sum::<usize>()
            + self.selector.len()
    }
}

/// The same fields with values of their own: as they come, they keep the buffer
/// alive that they were read into.
pub(crate) fn compacted(headers: &HeaderMap) -> HeaderMap {
    let mut buffer = BytesMut::with_capacity(headers.values().map(HeaderValue::len).sum());
    let mut compact = HeaderMap::try_with_capacity(headers.keys_len() + 2).unwrap_or_default();
    for (name, value) in headers {
        buffer.extend_from_slice(value.as_bytes());
        let bytes = buffer.split().freeze();
        let mut copy = HeaderValue::from_maybe_shared(bytes).expect("it was one before");
        copy.set_sensitive(value.is_sensitive());
        if compact.try_append(name, copy).is_err() {
            // As large as it can be: whether it fits again is up to the hashes.
            return headers.clone();
        }
    }
    compact
}

/// Header fields and bodies may be secret: they are left out.
impl fmt::Debug for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variant")
            .field("status", &self.head.status)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for StoredHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredHead").field("status", &self.status).finish_non_exhaustive()
    }
}

use std::{fmt, sync::Arc, time::Duration};

use http::Request;
use palisade_core::{Head, KeyBy, OwnedKey};
use palisade_keyed::{BoundedMap, Bounds, Evict};
use palisade_settings::{InvalidSetting, literal};

use crate::{
    Assign, CircuitBreakerHandle, Scope, Template, Trip,
    settings::{Settings, nanos},
};

/// One breaker for each key: for each authority, endpoint, tenant.
///
/// A host that is down then leaves the others alone. There are never more than
/// [`max_keys`](Self::max_keys) breakers. A key that comes when all places are
/// taken gets that of a breaker that is closed, has no call under way, and was
/// not asked for lately; its counts are forgotten. What is open stays, until
/// its time is over. Where none can go, the request is admitted without a
/// breaker and [counted](Breakers::overflowed): better unprotected than refused.
///
/// ```
/// use std::time::Duration;
/// use palisade_circuit_breaker::{CircuitBreakerLayer, Keyed};
/// use palisade_core::{ByAuthority, HttpClassify};
///
/// let by_host = Keyed::by(ByAuthority).max_keys(1000).idle(Duration::from_secs(60));
/// let layer = CircuitBreakerLayer::<HttpClassify>::http().scope(by_host);
/// let breakers = layer.breakers();
/// assert!(breakers.get(&Some("api.example".to_owned())).is_none(), "nobody has called it yet");
/// ```
#[must_use]
pub struct Keyed<K: KeyBy> {
    by: Arc<K>,
    bounds: Bounds,
    template: Template,
    breakers: Arc<BoundedMap<K::Key, CircuitBreakerHandle>>,
}

const MAX_KEYS: usize = 10_000;
const IDLE: Duration = Duration::from_secs(600);

impl<K: KeyBy> Keyed<K> {
    /// Keys by this: [`ByAuthority`](palisade_core::ByAuthority) and its kin, or
    /// [`key_fn`](palisade_core::key_fn).
    pub fn by(by: K) -> Self {
        let bounds = Bounds { most: MAX_KEYS, idle: nanos(IDLE) };
        // Another one comes with the layer.
        let template = Template::new(Arc::new(Settings::new(Trip::default())));
        Self::with(Arc::new(by), bounds, template)
    }

    fn with(by: Arc<K>, bounds: Bounds, template: Template) -> Self {
        Self { by, bounds, template, breakers: Arc::new(BoundedMap::new(bounds)) }
    }

    /// Sets how many breakers there are at most. Defaults to 10,000.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn max_keys(self, keys: usize) -> Self {
        literal(self.try_max_keys(keys))
    }

    /// As [`max_keys`](Self::max_keys), for a value from outside.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn try_max_keys(self, keys: usize) -> Result<Self, InvalidSetting> {
        match keys {
            0 => Err(InvalidSetting::new(
                "a place for no key leaves every request without a breaker: write 1 at the least",
            )),
            most => Ok(Self::with(self.by, Bounds { most, ..self.bounds }, self.template)),
        }
    }

    /// Sets after how long without a call a breaker may be forgotten that is
    /// closed, or whose time is over. Defaults to 10 minutes.
    ///
    /// New keys clear away what is idle, some of it each, so it may stay for
    /// longer.
    pub fn idle(self, idle: Duration) -> Self {
        let bounds = Bounds { idle: nanos(idle), ..self.bounds };
        Self::with(self.by, bounds, self.template)
    }
}

impl<K: KeyBy> Scope for Keyed<K> {
    type Lease = Option<CircuitBreakerHandle>;

    fn renew(self, template: &Template) -> Self {
        Self::with(self.by, self.bounds, template.clone())
    }

    #[inline]
    fn leased<'a>(&'a self, lease: &'a Self::Lease) -> Option<&'a CircuitBreakerHandle> {
        lease.as_ref()
    }

    fn known(&self) -> Option<&CircuitBreakerHandle> {
        None
    }
}

impl<K: KeyBy, B> Assign<Request<B>> for Keyed<K> {
    #[inline]
    fn lease(&self, request: &Request<B>) -> Option<CircuitBreakerHandle> {
        let key = self.by.key(Head::of(request));
        let make = |key: &K::Key| self.template.breaker(self.by.target(key));
        self.breakers.get_or_insert(&key, make, || self.template.settings().now())
    }
}

/// A look at the breakers of a layer.
#[derive(Clone, Debug)]
pub struct Breakers<K: KeyBy> {
    keyed: Keyed<K>,
}

impl<K: KeyBy> Breakers<K> {
    pub(crate) fn of(keyed: Keyed<K>) -> Self {
        Self { keyed }
    }

    /// The breaker of a key, if there is one.
    pub fn get(&self, key: &K::Key) -> Option<CircuitBreakerHandle> {
        self.keyed.breakers.get(&OwnedKey(key.clone()))
    }

    /// All breakers there are, in no order.
    pub fn all(&self) -> Vec<(K::Key, CircuitBreakerHandle)> {
        self.keyed.breakers.entries()
    }

    /// How many breakers there are.
    pub fn len(&self) -> usize {
        self.keyed.breakers.len()
    }

    /// Whether there is no breaker.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many requests were admitted without a breaker, for want of a place.
    pub fn overflowed(&self) -> u64 {
        self.keyed.breakers.overflowed()
    }
}

impl Evict for CircuitBreakerHandle {
    fn may_go(&self, now: u64) -> bool {
        // Whoever holds it, a call or a person, would go on with a breaker that no call asks.
        self.is_alone() && !self.shared().is_pinned(now)
    }
}

/// Clones share the breakers.
impl<K: KeyBy> Clone for Keyed<K> {
    fn clone(&self) -> Self {
        Self {
            by: Arc::clone(&self.by),
            bounds: self.bounds,
            template: self.template.clone(),
            breakers: Arc::clone(&self.breakers),
        }
    }
}

impl<K: KeyBy> fmt::Debug for Keyed<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").field("len", &self.breakers.len()).finish_non_exhaustive()
    }
}

#[cfg(all(test, palisade_shuttle))]
mod models;

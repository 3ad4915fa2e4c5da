use std::{fmt, sync::Arc, time::Duration};

use http::Request;
use palisade_core::{Head, KeyBy, OwnedKey, Target};
use palisade_keyed::{BoundedMap, Bounds, Evict};
use palisade_settings::{InvalidSetting, literal};

use crate::{Assign, Found, Limiter, Quota, Scope, Template, shared::Settings};

/// One limiter for each key: for each authority, endpoint, tenant, client.
///
/// There are never more than [`max_keys`](Self::max_keys). A key that comes
/// when all places are taken gets that of a limiter that nobody uses and that
/// has all of its tokens, so that nothing is forgotten. Where there is none,
/// the request goes by one more limiter, which all such requests share, and
/// is [counted](Limiters::overflowed).
///
/// ```
/// use palisade_core::ByAuthority;
/// use palisade_rate_limit::{Keyed, Quota, RateLimitLayer};
///
/// let by_host = Keyed::by(ByAuthority).max_keys(1000);
/// let layer = RateLimitLayer::new(Quota::per_second(10)).scope(by_host);
/// assert!(layer.limiters().is_empty(), "nobody has called yet");
/// ```
#[must_use]
pub struct Keyed<K: KeyBy, Q = SameForAll> {
    by: Arc<K>,
    quotas: Q,
    most: usize,
    template: Template,
    limiters: Arc<BoundedMap<K::Key, Limiter>>,
    overflow: Limiter,
}

const MAX_KEYS: usize = 100_000;

/// A limiter with all of its tokens is as if it were new. It stays for a minute,
/// so that a key that comes again and again is not made anew each time.
const IDLE: u64 = 60_000_000_000;

/// Says what quota a key has.
pub trait QuotaFor<K> {
    /// The quota of a key in place of the layer's; nothing for those.
    fn quota(&self, key: &K) -> Option<Quota>;
}

/// All keys have the quotas of the layer. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct SameForAll;

impl<K> QuotaFor<K> for SameForAll {
    fn quota(&self, _: &K) -> Option<Quota> {
        None
    }
}

/// A key has the quota that a function says: see [`Keyed::quota_fn`].
#[derive(Clone, Copy)]
pub struct QuotaFn<F>(F);

impl<K, F: Fn(&K) -> Option<Quota>> QuotaFor<K> for QuotaFn<F> {
    fn quota(&self, key: &K) -> Option<Quota> {
        (self.0)(key)
    }
}

impl<F> fmt::Debug for QuotaFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QuotaFn(..)")
    }
}

impl<K: KeyBy> Keyed<K> {
    /// Keys by this: [`ByAuthority`](palisade_core::ByAuthority) and its kin, or
    /// [`key_fn`](palisade_core::key_fn).
    pub fn by(by: K) -> Self {
        // Another one comes with the layer.
        let template = Template::new(Arc::new(Settings::new(Quota::UNLIMITED)));
        Self::with(Arc::new(by), SameForAll, MAX_KEYS, template)
    }
}

impl<K: KeyBy, Q> Keyed<K, Q> {
    fn with(by: Arc<K>, quotas: Q, most: usize, template: Template) -> Self {
        let limiters = Arc::new(BoundedMap::new(Bounds { most, idle: IDLE }));
        let overflow = template.limiter(Target::default());
        Self { by, quotas, most, template, limiters, overflow }
    }

    /// Sets how many limiters there are at most. Defaults to 100,000.
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
                "a place for no key lets all requests share one limit: write 1 at the least, or no key",
            )),
            most => Ok(Self::with(self.by, self.quotas, most, self.template)),
        }
    }

    /// Sets what quota a key has, once for each time that it comes anew: its
    /// own, or for nothing the quotas of the layer. Defaults to those for all.
    ///
    /// ```
    /// use palisade_core::ByAuthority;
    /// use palisade_rate_limit::{Keyed, Quota};
    ///
    /// let by_host = Keyed::by(ByAuthority).quota_fn(|host: &Option<String>| {
    ///     (host.as_deref() == Some("slow.example")).then(|| Quota::per_second(1))
    /// });
    /// # let _ = by_host;
    /// ```
    pub fn quota_fn<F>(self, quota: F) -> Keyed<K, QuotaFn<F>>
    where
        F: Fn(&K::Key) -> Option<Quota>,
    {
        Keyed::with(self.by, QuotaFn(quota), self.most, self.template)
    }

    fn make(&self, key: &K::Key) -> Limiter
    where
        Q: QuotaFor<K::Key>,
    {
        let target = self.by.target(key);
        match self.quotas.quota(key) {
            None => self.template.limiter(target),
            Some(quota) => self.template.limiter_with(quota, target),
        }
    }
}

impl<K: KeyBy, Q> Scope for Keyed<K, Q> {
    fn renew(self, template: &Template) -> Self {
        Self::with(self.by, self.quotas, self.most, template.clone())
    }

    fn known(&self) -> Option<&Limiter> {
        None
    }
}

impl<K: KeyBy, Q: QuotaFor<K::Key>, B> Assign<Request<B>> for Keyed<K, Q> {
    #[inline]
    fn limiter<'a>(&'a self, request: &Request<B>) -> Found<'a> {
        let key = self.by.key(Head::of(request));
        let now = || self.template.settings().now();
        match self.limiters.get_or_insert(&key, |key| self.make(key), now) {
            Some(limiter) => Found::Own(limiter),
            None => Found::One(&self.overflow),
        }
    }
}

impl Evict for Limiter {
    fn may_go(&self, now: u64) -> bool {
        // Whoever waits or holds a handle has a pointer of its own.
        Arc::strong_count(self.shared()) == 1 && self.shared().limits.is_new(now)
    }
}

impl<K: KeyBy, Q: Clone> Clone for Keyed<K, Q> {
    fn clone(&self) -> Self {
        Self {
            by: Arc::clone(&self.by),
            quotas: self.quotas.clone(),
            most: self.most,
            template: self.template.clone(),
            limiters: Arc::clone(&self.limiters),
            overflow: self.overflow.clone(),
        }
    }
}

impl<K: KeyBy, Q> fmt::Debug for Keyed<K, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").field("most", &self.most).finish_non_exhaustive()
    }
}

/// The limiters of a layer that has one for each key.
pub struct Limiters<K: KeyBy> {
    limiters: Arc<BoundedMap<K::Key, Limiter>>,
    overflow: Limiter,
}

impl<K: KeyBy> Limiters<K> {
    pub(crate) fn of<Q>(keyed: &Keyed<K, Q>) -> Self {
        Self { limiters: Arc::clone(&keyed.limiters), overflow: keyed.overflow.clone() }
    }

    /// The limiter of a key, if there is one. As long as it is held, it stays.
    pub fn get(&self, key: &K::Key) -> Option<Limiter> {
        self.limiters.get(&OwnedKey(key.clone()))
    }

    /// All limiters, and their keys.
    pub fn all(&self) -> Vec<(K::Key, Limiter)> {
        self.limiters.entries()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.limiters.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.limiters.is_empty()
    }

    /// The limiter of all requests whose key found no place.
    pub fn overflow(&self) -> Limiter {
        self.overflow.clone()
    }

    /// How many requests found no place for their key.
    pub fn overflowed(&self) -> u64 {
        self.limiters.overflowed()
    }

    /// Lets nothing go for a while, whatever its key, of those that are there,
    /// and of those for which there is no place.
    pub fn pause(&self, pause: Duration) {
        self.all().into_iter().for_each(|(_, limiter)| limiter.pause(pause));
        self.overflow.pause(pause);
    }
}

impl<K: KeyBy> Clone for Limiters<K> {
    fn clone(&self) -> Self {
        Self { limiters: Arc::clone(&self.limiters), overflow: self.overflow.clone() }
    }
}

impl<K: KeyBy> fmt::Debug for Limiters<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiters").field("len", &self.len()).finish_non_exhaustive()
    }
}

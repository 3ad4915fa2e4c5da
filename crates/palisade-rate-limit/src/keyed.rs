use std::{fmt, sync::Arc, time::Duration};

use http::Request;
use palisade_core::{Head, KeyBy, KeyRef, OwnedKey, Target};
use palisade_keyed::{BoundedMap, Bounds};
use palisade_settings::{InvalidSetting, literal};

use crate::{
    Assign, Found, Limiter, Quota, Scope, Template,
    bucket::Bucket,
    kept::{Ask, Kept},
    shared::Settings,
};

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
    keys: Arc<Keys<K>>,
    quotas: Q,
    most: usize,
}

/// The keys, and what there is for all of them.
struct Keys<K: KeyBy> {
    by: Arc<K>,
    template: Template,
    // As it is for a key of which there is but a word.
    bucket: Bucket,
    kept: BoundedMap<K::Key, Kept>,
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
        let keys = Keys {
            by,
            bucket: Bucket::new(template.settings().quota),
            kept: BoundedMap::new(Bounds { most, idle: IDLE }),
            overflow: template.limiter(Target::default()),
            template,
        };
        Self { keys: Arc::new(keys), quotas, most }
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
            most => {
                let Keys { by, template, .. } = &*self.keys;
                Ok(Self::with(Arc::clone(by), self.quotas, most, template.clone()))
            }
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
        let Keys { by, template, .. } = &*self.keys;
        Keyed::with(Arc::clone(by), QuotaFn(quota), self.most, template.clone())
    }
}

impl<K: KeyBy, Q: QuotaFor<K::Key>> Keyed<K, Q> {
    fn make(&self, key: &K::Key) -> Kept {
        match self.quotas.quota(key) {
            None if self.keys.template.is_plain() => Kept::new(),
            quota => Kept::Limiter(self.keys.limiter_with(quota, key)),
        }
    }

    fn limiter(&self, key: &impl KeyRef<K::Key>) -> Found<'_> {
        let make =
            |key: &K::Key| Kept::Limiter(self.keys.limiter_with(self.quotas.quota(key), key));
        let now = || self.keys.template.settings().now();
        loop {
            let Some(limiter) = self.keys.kept.look_or_insert(key, make, now, Kept::limiter) else {
                return Found::One(&self.keys.overflow);
            };
            if let Some(limiter) = limiter.or_else(|| self.keys.grow(key)) {
                return Found::Own(limiter);
            }
            // It went meanwhile.
        }
    }
}

impl<K: KeyBy> Keys<K> {
    fn limiter_with(&self, quota: Option<Quota>, key: &K::Key) -> Limiter {
        let target = self.by.target(key);
        match quota {
            None => self.template.limiter(target),
            Some(quota) => self.template.limiter_with(quota, target),
        }
    }

    /// The limiter of a key, if that is there.
    fn limiter(&self, key: &impl KeyRef<K::Key>) -> Option<Limiter> {
        self.kept.look(key, Kept::limiter)?.or_else(|| self.grow(key))
    }

    /// The same of one that has but a word.
    #[cold]
    fn grow(&self, key: &impl KeyRef<K::Key>) -> Option<Limiter> {
        let limiter = self.limiter_with(None, &key.to_key());
        self.kept.change(key, |kept| kept.grow(limiter))
    }
}

impl<K: KeyBy, Q> Scope for Keyed<K, Q> {
    type Limiter = Limiter;

    fn renew(self, template: &Template) -> Self {
        Self::with(Arc::clone(&self.keys.by), self.quotas, self.most, template.clone())
    }
}

impl<K: KeyBy, Q: QuotaFor<K::Key>, B> Assign<Request<B>> for Keyed<K, Q> {
    #[inline]
    fn limiter<'a>(&'a self, request: &Request<B>) -> Found<'a> {
        self.limiter(&self.keys.by.key(Head::of(request)))
    }

    #[inline]
    fn take<'a>(&'a self, request: &Request<B>, cost: u32) -> Result<(), Found<'a>> {
        let Keys { by, template, bucket, kept, overflow } = &*self.keys;
        let key = by.key(Head::of(request));
        // Before the look: not under its lock, nor after its loads, which reading a clock waits for.
        let now = template.settings().now();
        let take = |kept: &Kept| kept.take(bucket, now, cost);
        match kept.look_or_insert(&key, |key| self.make(key), || now, take) {
            Some(Ok(())) => Ok(()),
            Some(Err(Ask::Limiter(limiter))) => Err(Found::Own(limiter)),
            Some(Err(Ask::Another)) => Err(self.limiter(&key)),
            None => Err(Found::One(overflow)),
        }
    }
}

impl<K: KeyBy, Q: Clone> Clone for Keyed<K, Q> {
    fn clone(&self) -> Self {
        Self { keys: Arc::clone(&self.keys), quotas: self.quotas.clone(), most: self.most }
    }
}

impl<K: KeyBy, Q> fmt::Debug for Keyed<K, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").field("most", &self.most).finish_non_exhaustive()
    }
}

/// The limiters of a layer that has one for each key.
pub struct Limiters<K: KeyBy> {
    keys: Arc<Keys<K>>,
}

impl<K: KeyBy> Limiters<K> {
    pub(crate) fn of<Q>(keyed: &Keyed<K, Q>) -> Self {
        Self { keys: Arc::clone(&keyed.keys) }
    }

    /// The limiter of a key, if there is one. As long as it is held, it stays.
    pub fn get(&self, key: &K::Key) -> Option<Limiter> {
        self.keys.limiter(&OwnedKey(key.clone()))
    }

    /// All limiters, and their keys. A key whose requests were all let go has
    /// none before it is asked for, so of many keys this takes a while.
    pub fn all(&self) -> Vec<(K::Key, Limiter)> {
        let all = self.keys.kept.look_at_all(|key, kept| (key.clone(), kept.limiter()));
        let grown = all.into_iter().filter_map(|(key, limiter)| {
            let limiter = limiter.or_else(|| self.keys.grow(&OwnedKey(key.clone())))?;
            Some((key, limiter))
        });
        grown.collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.keys.kept.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.kept.is_empty()
    }

    /// The limiter of all requests whose key found no place.
    pub fn overflow(&self) -> Limiter {
        self.keys.overflow.clone()
    }

    /// How many requests found no place for their key.
    pub fn overflowed(&self) -> u64 {
        self.keys.kept.overflowed()
    }

    /// Lets nothing go for a while, whatever its key, of those that are there,
    /// and of those for which there is no place.
    pub fn pause(&self, pause: Duration) {
        self.all().into_iter().for_each(|(_, limiter)| limiter.pause(pause));
        self.keys.overflow.pause(pause);
    }
}

impl<K: KeyBy> Clone for Limiters<K> {
    fn clone(&self) -> Self {
        Self { keys: Arc::clone(&self.keys) }
    }
}

impl<K: KeyBy> fmt::Debug for Limiters<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiters").field("len", &self.len()).finish_non_exhaustive()
    }
}

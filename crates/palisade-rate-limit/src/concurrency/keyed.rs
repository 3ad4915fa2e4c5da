use std::{fmt, sync::Arc};

use http::Request;
use palisade_core::{Head, KeyBy, OwnedKey};
use palisade_keyed::{BoundedMap, Bounds};
use palisade_settings::{InvalidSetting, literal};

use crate::{ConcurrencyLimiter, Fixed, LimitAlgorithm, LimitOf, LimitScope};

/// One limit for each key: for each authority, endpoint, tenant, client.
///
/// There are never more than [`max_keys`](Self::max_keys). A key that comes
/// when all places are taken gets that of a limiter that nobody uses, and whose
/// limit nobody has set; what that has learned is forgotten. Where there is
/// none, the request goes by the limiter of the layer, which all such requests
/// share, and is [counted](ConcurrencyLimiters::overflowed).
///
/// ```
/// use palisade_core::ByAuthority;
/// use palisade_rate_limit::{ConcurrencyLimitLayer, LimitPerKey};
///
/// let by_host = LimitPerKey::by(ByAuthority).max_keys(1000);
/// let layer = ConcurrencyLimitLayer::new(8).scope(by_host);
/// assert!(layer.limiters().is_empty(), "nobody has called yet");
/// ```
#[must_use]
pub struct LimitPerKey<K: KeyBy, A: LimitAlgorithm = Fixed> {
    by: Arc<K>,
    most: usize,
    limiters: Arc<BoundedMap<K::Key, ConcurrencyLimiter<A>>>,
}

const MAX_KEYS: usize = 100_000;

/// What nobody uses for a minute is forgotten.
const IDLE: u64 = 60_000_000_000;

impl<K: KeyBy, A: LimitAlgorithm> LimitPerKey<K, A> {
    /// Keys by this: [`ByAuthority`](palisade_core::ByAuthority) and its kin, or
    /// [`key_fn`](palisade_core::key_fn).
    pub fn by(by: K) -> Self {
        Self::with(Arc::new(by), MAX_KEYS)
    }

    fn with(by: Arc<K>, most: usize) -> Self {
        Self { by, most, limiters: Arc::new(BoundedMap::new(Bounds { most, idle: IDLE })) }
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
            most => Ok(Self::with(self.by, most)),
        }
    }
}

impl<K: KeyBy, A: LimitAlgorithm> LimitScope for LimitPerKey<K, A> {
    fn renew(self) -> Self {
        Self::with(self.by, self.most)
    }
}

impl<K: KeyBy, A: LimitAlgorithm, B> LimitOf<Request<B>, A> for LimitPerKey<K, A> {
    #[inline]
    fn limiter(
        &self,
        request: &Request<B>,
        layers: &ConcurrencyLimiter<A>,
    ) -> ConcurrencyLimiter<A> {
        let key = self.by.key(Head::of(request));
        let make = |key: &K::Key| layers.another(self.by.target(key));
        let found = self.limiters.get_or_insert(&key, make, || layers.now());
        found.unwrap_or_else(|| layers.clone())
    }
}

impl<K: KeyBy, A: LimitAlgorithm> Clone for LimitPerKey<K, A> {
    fn clone(&self) -> Self {
        let (by, limiters) = (Arc::clone(&self.by), Arc::clone(&self.limiters));
        Self { by, most: self.most, limiters }
    }
}

impl<K: KeyBy, A: LimitAlgorithm> fmt::Debug for LimitPerKey<K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitPerKey").field("most", &self.most).finish_non_exhaustive()
    }
}

/// The limiters of a layer that has one for each key.
pub struct ConcurrencyLimiters<K: KeyBy, A: LimitAlgorithm = Fixed> {
    limiters: Arc<BoundedMap<K::Key, ConcurrencyLimiter<A>>>,
    overflow: ConcurrencyLimiter<A>,
}

impl<K: KeyBy, A: LimitAlgorithm> ConcurrencyLimiters<K, A> {
    pub(crate) fn of(keyed: &LimitPerKey<K, A>, overflow: ConcurrencyLimiter<A>) -> Self {
        Self { limiters: Arc::clone(&keyed.limiters), overflow }
    }

    /// The limiter of a key, if there is one. As long as it is held, it stays.
    pub fn get(&self, key: &K::Key) -> Option<ConcurrencyLimiter<A>> {
        self.limiters.get(&OwnedKey(key.clone()))
    }

    /// All limiters, and their keys.
    pub fn all(&self) -> Vec<(K::Key, ConcurrencyLimiter<A>)> {
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
    pub fn overflow(&self) -> ConcurrencyLimiter<A> {
        self.overflow.clone()
    }

    /// How many requests found no place for their key.
    pub fn overflowed(&self) -> u64 {
        self.limiters.overflowed()
    }
}

impl<K: KeyBy, A: LimitAlgorithm> Clone for ConcurrencyLimiters<K, A> {
    fn clone(&self) -> Self {
        Self { limiters: Arc::clone(&self.limiters), overflow: self.overflow.clone() }
    }
}

impl<K: KeyBy, A: LimitAlgorithm> fmt::Debug for ConcurrencyLimiters<K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimiters").field("len", &self.len()).finish_non_exhaustive()
    }
}

use std::{
    fmt,
    hash::Hash,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::{Policy, Ttl, Weigh, freshness::Age, rules::Rules};

/// Looks into a cache, and changes what is in it.
///
/// Made by [`CacheLayer::handle`](crate::CacheLayer::handle). Clones are of the
/// same cache.
pub struct CacheHandle<K, V> {
    cache: Arc<dyn Handled<K, V> + Send + Sync>,
}

/// What a handle can do, whatever the inner service is.
pub(crate) trait Handled<K, V> {
    fn find(&self, key: &K) -> Option<V>;
    fn insert(&self, key: K, answer: V, ttl: Ttl);
    fn invalidate(&self, key: &K) -> bool;
    fn clear(&self);
    fn stats(&self) -> CacheStats;
}

impl<K, V> CacheHandle<K, V> {
    pub(crate) fn new(cache: Arc<dyn Handled<K, V> + Send + Sync>) -> Self {
        Self { cache }
    }

    /// The answer that a request with this key would get at once, if it is not
    /// past its time.
    pub fn get(&self, key: &K) -> Option<V> {
        self.cache.find(key)
    }

    /// Keeps an answer, if there is a place for it, instead of the one there
    /// is. A call that is under way does not take its place.
    pub fn insert(&self, key: K, answer: V, ttl: impl Into<Ttl>) {
        self.cache.insert(key, answer, ttl.into());
    }

    /// Removes an answer; returns whether there was one.
    ///
    /// Who waits for a call that is under way gets what it comes to, but that is
    /// not kept, and who comes from now on does not wait for it.
    pub fn invalidate(&self, key: &K) -> bool {
        self.cache.invalidate(key)
    }

    /// Removes all answers, as [`invalidate`](Self::invalidate) does one.
    pub fn clear(&self) {
        self.cache.clear();
    }

    /// What there is, and what was done.
    pub fn stats(&self) -> CacheStats {
        self.cache.stats()
    }
}

impl<K, V> Clone for CacheHandle<K, V> {
    fn clone(&self) -> Self {
        Self { cache: Arc::clone(&self.cache) }
    }
}

impl<K, V> fmt::Debug for CacheHandle<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheHandle").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl<K, V, C, B, T, W, R, J, X> Handled<K, V> for Rules<K, V, C, Policy<B, T, W, R, J, X>>
where
    K: Clone + Eq + Hash,
    V: Clone,
    W: Weigh<K, V>,
{
    fn find(&self, key: &K) -> Option<V> {
        let entry = self.shared.store.find(key)?;
        match self.settings.age(&entry) {
            Age::Fresh | Age::Due => Some(entry.answer.clone()),
            Age::Stale | Age::Expired => None,
        }
    }

    fn insert(&self, key: K, answer: V, ttl: Ttl) {
        let weight = || self.policy.weigh.weight(&key, &answer);
        let admitted = self.admit(ttl, Instant::now(), Duration::ZERO, weight);
        let entry = admitted.map(|keep| Arc::new(keep.of(answer)));
        self.shared.insert(key, entry);
    }

    fn invalidate(&self, key: &K) -> bool {
        self.shared.remove(key)
    }

    fn clear(&self) {
        self.shared.clear();
    }

    fn stats(&self) -> CacheStats {
        let shared = &self.shared;
        let counts = &shared.counts;
        CacheStats {
            entries: shared.store.len(),
            weight: shared.store.weight(),
            in_flight: shared.in_flight(),
            hits: counts.hits.load(Ordering::Relaxed),
            stale: counts.stale.load(Ordering::Relaxed),
            misses: counts.misses.load(Ordering::Relaxed),
            collapsed: counts.collapsed.load(Ordering::Relaxed),
            refreshed: counts.refreshed.load(Ordering::Relaxed),
            refresh_failed: counts.unrefreshed.load(Ordering::Relaxed),
            oversized: counts.oversized.load(Ordering::Relaxed),
            evicted: shared.store.evicted(),
        }
    }
}

/// What there is in a cache, and what it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// How many answers there are, with those that are past their time.
    pub entries: usize,
    /// What they weigh.
    pub weight: u64,
    /// How many calls are under way that others may wait for.
    pub in_flight: usize,
    /// Requests that were answered by what was kept.
    pub hits: u64,
    /// Requests that were answered by what was kept, past its time.
    pub stale: u64,
    /// Requests that the inner service was called for.
    pub misses: u64,
    /// Requests that were answered by a call for another one.
    pub collapsed: u64,
    /// Calls for an answer in place of one that was still given.
    pub refreshed: u64,
    /// Such calls that failed.
    pub refresh_failed: u64,
    /// Answers that were not kept as they weighed too much.
    pub oversized: u64,
    /// Answers that had to go before their time to make room.
    pub evicted: u64,
}

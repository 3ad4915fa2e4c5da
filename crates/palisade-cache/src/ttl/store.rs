use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use foldhash::quality::RandomState;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter, sync::Cache as QuickCache};

use tokio::time::Instant;

use super::{freshness::Freshness, pause::Pause};
use crate::sync::{Mutex, lock};

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// What all answers together may weigh.
    pub(crate) most: u64,
    /// What one may weigh; if nothing is said, this share of it.
    pub(crate) largest: Option<u64>,
    pub(crate) share: u64,
}

impl Bounds {
    pub(crate) fn entries(most: u64) -> Self {
        Self { most, largest: None, share: most }
    }

    pub(crate) fn weight(most: u64) -> Self {
        Self { most, largest: None, share: 16 }
    }

    fn largest(&self) -> u64 {
        self.largest.unwrap_or_else(|| self.most.div_ceil(self.share)).clamp(1, self.most)
    }

    /// How many parts there are, each with a lock and a share of the budget of
    /// its own.
    ///
    /// What weighs more than a share is not kept at all, so each must hold some
    /// of the largest; and the fewer a share holds, the less is evicted what
    /// is used the least.
    fn shards(&self, threads: usize) -> u64 {
        let most = (4 * threads as u64).next_power_of_two();
        let least = self.largest().saturating_mul(LARGEST_IN_SHARD).max(LEAST_IN_SHARD);
        let fitting = (self.most / least).max(1);
        // The power of two that is not above it.
        most.min(1 << fitting.ilog2())
    }

    /// How many there may well be. How much is remembered of what was evicted goes
    /// by it, and nothing else.
    fn items(&self) -> u64 {
        self.most / (self.largest() / 1024).max(1)
    }
}

const LARGEST_IN_SHARD: u64 = 4;
const LEAST_IN_SHARD: u64 = 32;

/// An answer that is kept, or shared by those who wait for it.
#[derive(Debug)]
pub(crate) struct Entry<V> {
    pub(crate) answer: V,
    pub(crate) freshness: Freshness,
    pub(crate) weight: u64,
    pause: Mutex<Pause>,
}

impl<V> Entry<V> {
    pub(crate) fn new(answer: V, freshness: Freshness, weight: u64) -> Self {
        Self { answer, freshness, weight, pause: Mutex::default() }
    }

    /// For how long no call is made for another one.
    pub(crate) fn pause(&self) -> Pause {
        *lock(&self.pause)
    }

    /// A call for another one has come to nothing.
    pub(crate) fn begin_pause(&self, now: Instant, failed: bool) {
        lock(&self.pause).begin(now, failed);
    }
}

/// What was taken out. It is dropped when no lock is held: what users keep may do
/// anything then.
pub(crate) struct Removed<K, V> {
    // As a rule there is no other, and nothing is allocated for it.
    first: Option<(K, Arc<Entry<V>>)>,
    others: Vec<(K, Arc<Entry<V>>)>,
}

impl<K, V> Removed<K, V> {
    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    fn push(&mut self, removed: (K, Arc<Entry<V>>)) {
        match &self.first {
            None => self.first = Some(removed),
            Some(_) => self.others.push(removed),
        }
    }
}

impl<K, V> Default for Removed<K, V> {
    fn default() -> Self {
        Self { first: None, others: Vec::new() }
    }
}

/// The answers that are kept, by key.
pub(crate) struct Store<K, V> {
    cache: QuickCache<K, Arc<Entry<V>>, ByWeight, RandomState, KeepEvicted>,
    largest: u64,
    evicted: AtomicU64,
}

impl<K: Eq + Hash, V> Store<K, V> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let shards = bounds.shards(threads);
        // The cache rounds the share of each up.
        let most = bounds.most / shards * shards;
        // It makes fewer shards where it expects fewer than 32 items in one.
        let items = bounds.items().max(shards * LEAST_IN_SHARD);
        let options = OptionsBuilder::new()
            .shards(usize::try_from(shards).unwrap_or(usize::MAX))
            .weight_capacity(most)
            .estimated_items_capacity(usize::try_from(items).unwrap_or(usize::MAX))
            .hot_allocation(HOT)
            .build()
            .expect("both capacities are set");
        let cache =
            QuickCache::with_options(options, ByWeight, RandomState::default(), KeepEvicted);
        // More than the hot part of a share is not taken.
        let admitted = (cache.shard_capacity() as f64 * HOT) as u64;
        let largest = bounds.largest().min(admitted.max(1));
        Self { cache, largest, evicted: AtomicU64::new(0) }
    }

    /// What an answer may weigh.
    pub(crate) fn largest(&self) -> u64 {
        self.largest
    }

    /// Finds an answer, and remembers that it was asked for.
    #[inline]
    pub(crate) fn find(&self, key: &K) -> Option<Arc<Entry<V>>> {
        self.cache.get(key)
    }

    /// Finds an answer, and leaves no trace.
    pub(crate) fn peek(&self, key: &K) -> Option<Arc<Entry<V>>> {
        self.cache.peek(key)
    }

    /// Puts an answer in the place of the one there is. It may not be kept for
    /// long, or at all.
    pub(crate) fn insert(&self, key: K, entry: Arc<Entry<V>>, removed: &mut Removed<K, V>) {
        // The cache hands out what is replaced as if it were evicted.
        let replaced = u64::from(self.cache.contains_key(&key));
        let before = removed.len();
        self.cache.insert_with_lifecycle(key, entry, removed);
        let evicted = (removed.len() - before) as u64;
        self.evicted.fetch_add(evicted.saturating_sub(replaced), Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, key: &K, removed: &mut Removed<K, V>) {
        self.cache.remove(key).into_iter().for_each(|gone| removed.push(gone));
    }

    pub(crate) fn clear(&self, removed: &mut Removed<K, V>) {
        self.cache.drain().for_each(|gone| removed.push(gone));
    }

    pub(crate) fn len(&self) -> usize {
        self.cache.len()
    }

    pub(crate) fn weight(&self) -> u64 {
        self.cache.weight()
    }

    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

/// The share of the budget for what is asked for again and again.
const HOT: f64 = 0.97;

#[derive(Clone, Copy)]
struct ByWeight;

impl<K, V> Weighter<K, Arc<Entry<V>>> for ByWeight {
    fn weight(&self, _: &K, entry: &Arc<Entry<V>>) -> u64 {
        entry.weight
    }
}

#[derive(Clone, Copy)]
struct KeepEvicted;

impl<K, V> Lifecycle<K, Arc<Entry<V>>> for KeepEvicted {
    type RequestState = Removed<K, V>;

    fn on_evict(&self, evicted: &mut Self::RequestState, key: K, entry: Arc<Entry<V>>) {
        evicted.push((key, entry));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(weight: u64) -> Arc<Entry<u64>> {
        Arc::new(Entry::new(weight, Freshness::FOREVER, weight))
    }

    fn insert(store: &Store<u64, u64>, key: u64, weight: u64) -> usize {
        let mut removed = Removed::default();
        store.insert(key, entry(weight), &mut removed);
        removed.len()
    }

    #[test]
    fn each_shard_holds_some_of_the_largest() {
        let mib = 1 << 20;
        for (bounds, threads, shards) in [
            (Bounds::entries(1), 8, 1),
            (Bounds::entries(63), 8, 1),
            (Bounds::entries(64), 8, 2),
            (Bounds::entries(10_000), 8, 32),
            (Bounds::entries(10_000), 2, 8),
            (Bounds::entries(u64::MAX), 64, 256),
            // By default an answer may weigh a sixteenth of all.
            (Bounds::weight(64 * mib), 8, 4),
            (Bounds { largest: Some(mib), ..Bounds::weight(64 * mib) }, 8, 16),
            (Bounds { largest: Some(64 * mib), ..Bounds::weight(64 * mib) }, 8, 1),
            (Bounds { largest: Some(u64::MAX), ..Bounds::weight(64 * mib) }, 8, 1),
            (Bounds { largest: Some(1), ..Bounds::weight(64 * mib) }, 8, 32),
        ] {
            assert_eq!(bounds.shards(threads), shards, "{bounds:?} {threads}");
        }
    }

    #[test]
    fn as_many_are_kept_as_may_be() {
        for most in [1, 2, 3, 31, 32, 33, 100] {
            let store = Store::new(Bounds::entries(most));
            for key in 0..200 {
                insert(&store, key, 1);
            }
            let least = if most < 64 { most } else { most / 2 };
            assert!((least..=most).contains(&(store.len() as u64)), "{} of {most}", store.len());
            assert_eq!(store.evicted() + store.len() as u64, 200);
        }
    }

    #[test]
    fn the_largest_is_kept_whatever_the_key() {
        let store = Store::new(Bounds::weight(64 << 20));
        assert_eq!(store.largest(), 4 << 20);
        for key in 0..100 {
            insert(&store, key, store.largest());
            assert!(store.find(&key).is_some(), "{key}");
        }
    }

    #[test]
    fn what_is_taken_out_is_handed_out() {
        let store = Store::new(Bounds::entries(2));
        assert_eq!(insert(&store, 1, 1), 0);
        // Replaced.
        assert_eq!(insert(&store, 1, 1), 1);
        assert_eq!(insert(&store, 2, 1), 0);
        // Evicted.
        assert_eq!(insert(&store, 3, 1), 1);
        let mut removed = Removed::default();
        store.remove(&7, &mut removed);
        store.clear(&mut removed);
        assert_eq!((removed.len(), store.len(), store.weight()), (2, 0, 0));
    }

    #[test]
    fn what_is_asked_for_stays() {
        let store = Store::new(Bounds::entries(100));
        for key in 0..10_000 {
            insert(&store, key, 1);
            // What was asked for at least once, before it comes to that.
            (0..10).for_each(|key| drop(store.find(&key)));
        }
        assert!((0..10).all(|key| store.peek(&key).is_some()));
    }

    proptest! {
        #[test]
        fn the_budget_is_kept(
            most in 1..2000_u64,
            largest in 1..500_u64,
            inserts in proptest::collection::vec((0..50_u64, 1..600_u64), 0..300),
        ) {
            let store = Store::new(Bounds { largest: Some(largest), ..Bounds::weight(most) });
            for (key, weight) in inserts {
                if weight <= store.largest() {
                    insert(&store, key, weight);
                }
                prop_assert!(store.weight() <= most);
            }
        }
    }
}

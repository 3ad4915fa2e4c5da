use std::{
    hash::{BuildHasher, Hash},
    mem,
    sync::{PoisonError, atomic::Ordering},
};

use hashbrown::{DefaultHashBuilder, HashTable};
use palisade_core::KeyRef;

use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Values by key, never more than a fixed number of them.
///
/// A key that is there costs a hash, a look under a shared lock, and no
/// allocation. One that is not takes a free place, or else that of a value
/// that may go and was not asked for since the hand of the clock last passed;
/// and takes those away that nobody has asked for in a long time, as the hand
/// finds them. How far the hand goes for one key is bounded, so a flood of keys
/// costs each the same.
#[derive(Debug)]
pub(crate) struct BoundedMap<K, V> {
    shards: Box<[RwLock<Shard<K, V>>]>,
    hasher: DefaultHashBuilder,
    bounds: Bounds,
    // Places that are taken, or about to be.
    taken: AtomicUsize,
    overflowed: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) most: usize,
    /// After how many nanoseconds without use a value may go.
    pub(crate) idle: u64,
}

/// Says what may go.
pub(crate) trait Evict {
    /// Whether nobody would miss it now.
    fn may_go(&self, now: u64) -> bool;
}

#[derive(Debug)]
struct Shard<K, V> {
    entries: HashTable<Entry<K, V>>,
    hand: usize,
}

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    value: V,
    // Since the hand last passed.
    used: AtomicBool,
    // When the hand last found it used, in nanoseconds.
    used_at: u64,
}

/// How many buckets the hand passes at most for one key.
const REACH: usize = 4 * SHARD + STEP;
/// How many it passes anyway, for what is idle.
const STEP: usize = 8;
const SHARD: usize = 256;
const MOST_SHARDS: usize = 4096;

impl<K: Hash, V: Evict + Clone> BoundedMap<K, V> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        // One lock for few keys, as the hand stays in one shard.
        let shards = bounds.most.div_ceil(SHARD).clamp(1, MOST_SHARDS).next_power_of_two();
        let shard = |_| RwLock::new(Shard { entries: HashTable::new(), hand: 0 });
        Self {
            shards: (0..shards).map(shard).collect(),
            hasher: DefaultHashBuilder::default(),
            bounds,
            taken: AtomicUsize::new(0),
            overflowed: AtomicU64::new(0),
        }
    }

    /// The value of a key, if it is there; asked for so that it stays.
    pub(crate) fn get(&self, key: &impl KeyRef<K>) -> Option<V> {
        let hash = self.hasher.hash_one(key);
        self.find(hash, key)
    }

    /// The value of a key, made if it is not there. Nothing, if there is no
    /// place for it.
    #[inline]
    pub(crate) fn get_or_insert(
        &self,
        key: &impl KeyRef<K>,
        make: impl FnOnce(&K) -> V,
        now: impl FnOnce() -> u64,
    ) -> Option<V> {
        let hash = self.hasher.hash_one(key);
        match self.find(hash, key) {
            Some(value) => Some(value),
            None => self.insert(hash, key, make, now()),
        }
    }

    #[inline]
    fn find(&self, hash: u64, key: &impl KeyRef<K>) -> Option<V> {
        let shard = self.read(hash);
        let entry = shard.entries.find(hash, |entry| key.is(&entry.key))?;
        // Written once for each time the hand passes.
        if !entry.used.load(Ordering::Relaxed) {
            entry.used.store(true, Ordering::Relaxed);
        }
        Some(entry.value.clone())
    }

    #[cold]
    fn insert(
        &self,
        hash: u64,
        key: &impl KeyRef<K>,
        make: impl FnOnce(&K) -> V,
        now: u64,
    ) -> Option<V> {
        let key_made = key.to_key();
        // Before the lock, at the risk that it is not needed.
        let value = make(&key_made);
        // What goes is dropped after the lock.
        let mut gone = Vec::new();
        let mut shard = self.write(hash);
        if let Some(entry) = shard.entries.find(hash, |entry| key.is(&entry.key)) {
            return Some(entry.value.clone());
        }

        gone.extend(shard.sweep(STEP, |entry| entry.is_idle(now, self.bounds.idle)));
        self.taken.fetch_sub(gone.len(), Ordering::Relaxed);
        if !self.take_place() {
            let Some(victim) = shard.victim(now) else {
                self.overflowed.fetch_add(1, Ordering::Relaxed);
                return None;
            };
            // Its place changes hands.
            gone.push(victim);
        }
        let used = AtomicBool::new(true);
        let entry = Entry { key: key_made, value: value.clone(), used, used_at: now };
        shard.entries.insert_unique(hash, entry, |entry| self.hasher.hash_one(&entry.key));
        drop(shard);
        drop(gone);
        Some(value)
    }

    fn take_place(&self) -> bool {
        let more = |taken| (taken < self.bounds.most).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    pub(crate) fn len(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// How many keys found no place.
    pub(crate) fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    /// All that is there, a shard at a time.
    pub(crate) fn entries(&self) -> Vec<(K, V)>
    where
        K: Clone,
    {
        let shards = self.shards.iter().map(|shard| shard.read());
        let shards = shards.map(|shard| shard.unwrap_or_else(PoisonError::into_inner));
        let copies = shards.map(|shard| {
            let entries = shard.entries.iter();
            entries.map(|entry| (entry.key.clone(), entry.value.clone())).collect::<Vec<_>>()
        });
        copies.flatten().collect()
    }

    fn shard(&self, hash: u64) -> &RwLock<Shard<K, V>> {
        // The table goes by the lowest bits and by the highest seven.
        &self.shards[(hash >> 32) as usize & (self.shards.len() - 1)]
    }

    fn read(&self, hash: u64) -> RwLockReadGuard<'_, Shard<K, V>> {
        self.shard(hash).read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, hash: u64) -> RwLockWriteGuard<'_, Shard<K, V>> {
        self.shard(hash).write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, V: Evict> Shard<K, V> {
    /// Moves the hand over so many buckets, and takes out what is to go.
    fn sweep(
        &mut self,
        buckets: usize,
        mut goes: impl FnMut(&mut Entry<K, V>) -> bool,
    ) -> Vec<Entry<K, V>> {
        let mut gone = Vec::new();
        for _ in 0..buckets.min(self.entries.num_buckets()) {
            gone.extend(self.pass(&mut goes));
        }
        gone
    }

    /// Finds one that may go and is not in use.
    fn victim(&mut self, now: u64) -> Option<Entry<K, V>> {
        // Twice around a shard as full as most: the first time the hand clears the marks.
        (0..REACH).find_map(|_| self.pass(&mut |entry| !entry.pass(now) && entry.value.may_go(now)))
    }

    /// Moves the hand over one bucket.
    fn pass(&mut self, goes: &mut impl FnMut(&mut Entry<K, V>) -> bool) -> Option<Entry<K, V>> {
        self.hand = (self.hand + 1) % self.entries.num_buckets().max(1);
        let mut entry = self.entries.get_bucket_entry(self.hand).ok()?;
        goes(entry.get_mut()).then(|| entry.remove().0)
    }
}

impl<K, V: Evict> Entry<K, V> {
    /// The hand passes: was it used since the last time?
    fn pass(&mut self, now: u64) -> bool {
        let used = mem::take(self.used.get_mut());
        if used {
            self.used_at = now;
        }
        used
    }

    fn is_idle(&mut self, now: u64, limit: u64) -> bool {
        !self.pass(now) && limit <= now.saturating_sub(self.used_at) && self.value.may_go(now)
    }
}

use std::{
    hash::{BuildHasher, Hash},
    mem,
    sync::{PoisonError, atomic::Ordering},
};

use hashbrown::HashTable;
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
pub struct BoundedMap<K, V> {
    shards: Box<[Locked<K, V>]>,
    hasher: Hasher,
    bounds: Bounds,
    // Places that are taken, or about to be.
    taken: AtomicUsize,
    overflowed: AtomicU64,
}

/// How much a [`BoundedMap`] holds.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The most values.
    pub most: usize,
    /// After how many nanoseconds without use a value may go.
    pub idle: u64,
}

/// Says what may go.
pub trait Evict {
    /// Whether nobody would miss it now, in nanoseconds.
    fn may_go(&self, now: u64) -> bool;
}

/// Each has a line of the cache to itself, as its lock is written by every look.
#[derive(Debug)]
#[repr(align(64))]
struct Locked<K, V>(RwLock<Shard<K, V>>);

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

/// Nobody outside can tell which keys collide. In tests it is always the same,
/// so that what fails fails again.
#[cfg(not(test))]
type Hasher = hashbrown::DefaultHashBuilder;
#[cfg(test)]
type Hasher = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;

impl<K: Hash, V: Evict> BoundedMap<K, V> {
    /// A map of no values.
    pub fn new(bounds: Bounds) -> Self {
        // One lock for few keys, as the hand stays in one shard.
        let shards = bounds.most.div_ceil(SHARD).clamp(1, MOST_SHARDS).next_power_of_two();
        Self::with_shards(bounds, shards)
    }

    /// The number of shards is a power of two.
    fn with_shards(bounds: Bounds, shards: usize) -> Self {
        let shard = |_| Locked(RwLock::new(Shard { entries: HashTable::new(), hand: 0 }));
        Self {
            shards: (0..shards).map(shard).collect(),
            hasher: Hasher::default(),
            bounds,
            taken: AtomicUsize::new(0),
            overflowed: AtomicU64::new(0),
        }
    }

    /// The value of a key, if it is there; asked for so that it stays.
    pub fn get(&self, key: &impl KeyRef<K>) -> Option<V>
    where
        V: Clone,
    {
        self.look(key, V::clone)
    }

    /// The value of a key, made if it is not there. Nothing, if there is no
    /// place for it.
    #[inline]
    pub fn get_or_insert(
        &self,
        key: &impl KeyRef<K>,
        make: impl FnOnce(&K) -> V,
        now: impl FnOnce() -> u64,
    ) -> Option<V>
    where
        V: Clone,
    {
        self.look_or_insert(key, make, now, V::clone)
    }

    /// As [`get`](Self::get), with a look at the value under its lock, which
    /// others may share: no place for what takes long, or is not ours.
    pub fn look<R>(&self, key: &impl KeyRef<K>, look: impl FnOnce(&V) -> R) -> Option<R> {
        let hash = self.hasher.hash_one(key);
        self.read(hash).find(hash, key).map(look)
    }

    /// As [`get_or_insert`](Self::get_or_insert), with a [look](Self::look).
    #[inline]
    pub fn look_or_insert<R>(
        &self,
        key: &impl KeyRef<K>,
        make: impl FnOnce(&K) -> V,
        now: impl FnOnce() -> u64,
        look: impl FnOnce(&V) -> R,
    ) -> Option<R> {
        let hash = self.hasher.hash_one(key);
        let shard = self.read(hash);
        if let Some(value) = shard.find(hash, key) {
            return Some(look(value));
        }
        drop(shard);
        self.insert(hash, key, make, now(), look)
    }

    /// Changes the value of a key, if it is there, under a lock that nobody
    /// shares. It is not asked for by that.
    pub fn change<R>(&self, key: &impl KeyRef<K>, change: impl FnOnce(&mut V) -> R) -> Option<R> {
        let hash = self.hasher.hash_one(key);
        let mut shard = self.write(hash);
        let entry = shard.entries.find_mut(hash, |entry| key.is(&entry.key))?;
        Some(change(&mut entry.value))
    }

    #[cold]
    fn insert<R>(
        &self,
        hash: u64,
        key: &impl KeyRef<K>,
        make: impl FnOnce(&K) -> V,
        now: u64,
        look: impl FnOnce(&V) -> R,
    ) -> Option<R> {
        let key_made = key.to_key();
        // Before the lock, at the risk that it is not needed.
        let value = make(&key_made);
        // What goes is dropped after the lock.
        let mut gone = Vec::new();
        let mut shard = self.write(hash);
        // Somebody may have been faster.
        if let Some(value) = shard.find(hash, key) {
            return Some(look(value));
        }

        if !self.take_place() {
            let Some(victim) = shard.victim(now) else {
                self.overflowed.fetch_add(1, Ordering::Relaxed);
                return None;
            };
            // Its place changes hands.
            gone.push(victim);
        }
        // After that, as the hand clears the marks that the victim is chosen by.
        let idle = shard.sweep(now, self.bounds.idle);
        self.taken.fetch_sub(idle.len(), Ordering::Relaxed);
        gone.extend(idle);
        let looked = look(&value);
        let entry = Entry { key: key_made, value, used: AtomicBool::new(true), used_at: now };
        shard.entries.insert_unique(hash, entry, |entry| self.hasher.hash_one(&entry.key));
        drop(shard);
        drop(gone);
        Some(looked)
    }

    fn take_place(&self) -> bool {
        let more = |taken| (taken < self.bounds.most).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many keys found no place.
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    /// All that is there, a shard at a time.
    pub fn entries(&self) -> Vec<(K, V)>
    where
        K: Clone,
        V: Clone,
    {
        self.look_at_all(|key, value| (key.clone(), value.clone()))
    }

    /// What a [look](Self::look) at each of them finds.
    pub fn look_at_all<R>(&self, look: impl Fn(&K, &V) -> R) -> Vec<R> {
        let shards = self.shards.iter().map(|shard| shard.0.read());
        let shards = shards.map(|shard| shard.unwrap_or_else(PoisonError::into_inner));
        let found = shards.map(|shard| {
            let entries = shard.entries.iter();
            entries.map(|entry| look(&entry.key, &entry.value)).collect::<Vec<_>>()
        });
        found.flatten().collect()
    }

    fn shard(&self, hash: u64) -> &RwLock<Shard<K, V>> {
        // The table goes by the lowest bits and by the highest seven.
        &self.shards[(hash >> 32) as usize & (self.shards.len() - 1)].0
    }

    fn read(&self, hash: u64) -> RwLockReadGuard<'_, Shard<K, V>> {
        self.shard(hash).read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, hash: u64) -> RwLockWriteGuard<'_, Shard<K, V>> {
        self.shard(hash).write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, V> Shard<K, V> {
    #[inline]
    fn find(&self, hash: u64, key: &impl KeyRef<K>) -> Option<&V> {
        let entry = self.entries.find(hash, |entry| key.is(&entry.key))?;
        // Written once for each time the hand passes.
        if !entry.used.load(Ordering::Relaxed) {
            entry.used.store(true, Ordering::Relaxed);
        }
        Some(&entry.value)
    }
}

impl<K, V: Evict> Shard<K, V> {
    /// Moves the hand a little, and takes out what is idle.
    fn sweep(&mut self, now: u64, limit: u64) -> Vec<Entry<K, V>> {
        let buckets = 0..STEP.min(self.entries.num_buckets());
        buckets.filter_map(|_| self.pass(|entry| entry.is_idle(now, limit))).collect()
    }

    /// Takes out one that may go and is not in use.
    fn victim(&mut self, now: u64) -> Option<Entry<K, V>> {
        // Twice around a shard as full as most: the first time the hand clears the marks.
        let mut buckets = 0..REACH.min(2 * self.entries.num_buckets());
        buckets.find_map(|_| self.pass(|entry| !entry.pass(now) && entry.value.may_go(now)))
    }

    /// Moves the hand over one bucket.
    fn pass(&mut self, goes: impl FnOnce(&mut Entry<K, V>) -> bool) -> Option<Entry<K, V>> {
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

#[cfg(all(test, palisade_shuttle))]
mod models;

#[cfg(test)]
mod tests {
    use std::{cell::Cell, collections::BTreeMap, sync::Arc};

    use palisade_core::OwnedKey;
    use proptest::prelude::*;

    use super::*;

    /// Goes, unless it is told to stay.
    #[derive(Clone, Debug)]
    struct Value {
        stays: Arc<AtomicBool>,
    }

    impl Value {
        fn new() -> Self {
            Self { stays: Arc::new(AtomicBool::new(false)) }
        }

        fn stay(&self, stays: bool) {
            self.stays.store(stays, Ordering::Relaxed);
        }

        fn stays(&self) -> bool {
            self.stays.load(Ordering::Relaxed)
        }

        fn is(&self, other: &Self) -> bool {
            Arc::ptr_eq(&self.stays, &other.stays)
        }
    }

    impl Evict for Value {
        fn may_go(&self, _: u64) -> bool {
            !self.stays()
        }
    }

    type Map = BoundedMap<u32, Value>;

    const IDLE: u64 = 100;

    fn map(most: usize) -> Map {
        Map::new(Bounds { most, idle: IDLE })
    }

    fn ask(map: &Map, key: u32, now: u64) -> Option<Value> {
        map.get_or_insert(&OwnedKey(key), |_| Value::new(), || now)
    }

    fn has(map: &Map, key: u32) -> bool {
        map.entries().iter().any(|entry| entry.0 == key)
    }

    /// Holds as many keys as it may, from 0 on, all in use.
    fn full(most: u32) -> Map {
        let map = map(most as usize);
        assert!((0..most).all(|key| ask(&map, key, 0).is_some()));
        assert!((0..most).all(|key| map.get(&OwnedKey(key)).is_some()));
        map
    }

    #[test]
    fn never_holds_more_than_it_may() {
        for most in [1, 2, 7, 8, 100, 1000] {
            let map = map(most);
            for key in 0..3000 {
                ask(&map, key, 0);
                assert_eq!(map.len(), map.entries().len());
                assert_eq!(map.len(), most.min(key as usize + 1), "after {key} of {most}");
            }
        }
    }

    #[test]
    fn who_asks_again_gets_the_same_value() {
        let map = map(2);
        let value = ask(&map, 1, 0).unwrap();
        assert!(ask(&map, 1, 0).unwrap().is(&value));
        assert!(map.get(&OwnedKey(1)).unwrap().is(&value));
        assert!(map.get(&OwnedKey(2)).is_none());
    }

    #[test]
    fn what_was_used_since_the_hand_passed_outlives_what_was_not() {
        for most in 2..=100 {
            for unused in 0..most {
                let map = full(most);
                // All were used: the hand goes round once, and takes what it meets next.
                ask(&map, most, 0);
                if !has(&map, unused) {
                    continue;
                }
                for key in (0..=most).filter(|&key| key != unused) {
                    map.get(&OwnedKey(key));
                }
                ask(&map, most + 1, 0);
                assert!(!has(&map, unused), "{unused} of {most}");
            }
        }
    }

    // However far the hand has to go.
    #[test]
    fn one_of_many_goes_though_all_were_used() {
        for most in [10, 100, 250, 511, 20_000] {
            let map = full(most);
            assert!(ask(&map, most, 0).is_some(), "{most}");
            assert_eq!(map.overflowed(), 0);
        }
    }

    #[test]
    fn what_is_idle_goes_when_others_come() {
        let map = map(1000);
        for key in 0..50 {
            ask(&map, key, 0);
        }
        ask(&map, 0, 0).unwrap().stay(true);
        // The hand finds that they were used before, and then that they were not.
        for (key, now) in (100..199).zip(1..) {
            ask(&map, key, now);
        }
        assert!((0..50).all(|key| has(&map, key)), "too early");
        for (key, now) in (200..300).zip(100 + IDLE..) {
            ask(&map, key, now);
        }
        assert!(has(&map, 0), "it may not go");
        assert!(!(1..50).any(|key| has(&map, key)), "too late");
        assert_eq!(map.len(), map.entries().len());
    }

    #[test]
    fn what_may_not_go_stays_and_the_newcomer_is_counted() {
        let map = full(3);
        let values = [0, 1, 2].map(|key| map.get(&OwnedKey(key)).unwrap());
        values.iter().for_each(|value| value.stay(true));
        for more in 1..10 {
            assert!(ask(&map, 100, more * IDLE).is_none());
            assert_eq!(map.overflowed(), more);
        }
        for (key, value) in (0..).zip(&values) {
            assert!(ask(&map, key, 0).unwrap().is(value));
        }
        values[1].stay(false);
        assert!(ask(&map, 100, 0).is_some());
        assert!(!has(&map, 1));
        assert_eq!(map.overflowed(), 9);
    }

    #[test]
    fn what_is_there_can_be_looked_at_and_changed() {
        let map = full(2);
        let (value, other) = (map.get(&OwnedKey(0)).unwrap(), Value::new());
        assert!(map.look(&OwnedKey(0), |there| there.is(&value)).unwrap());
        map.change(&OwnedKey(0), |there| *there = other.clone()).unwrap();
        assert!(ask(&map, 0, 0).unwrap().is(&other));
        let look = |there: &Value| there.is(&other);
        assert_eq!(map.look_or_insert(&OwnedKey(0), |_| unreachable!(), || 0, look), Some(true));
        assert_eq!(map.look_or_insert(&OwnedKey(7), |_| other.clone(), || 0, look), Some(true));
        let keys = map.look_at_all(|key, _| *key);
        assert!(keys.len() == 2 && keys.contains(&7));
        let gone = OwnedKey(u32::from(keys.contains(&0)));
        assert!(map.look(&gone, |_| ()).is_none() && map.change(&gone, |_| ()).is_none());
    }

    #[test]
    fn a_hit_makes_no_key() {
        struct Counted<'a>(u32, &'a Cell<u32>);

        impl Hash for Counted<'_> {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.0.hash(state);
            }
        }

        impl KeyRef<u32> for Counted<'_> {
            fn is(&self, key: &u32) -> bool {
                self.0 == *key
            }

            fn to_key(&self) -> u32 {
                self.1.set(self.1.get() + 1);
                self.0
            }
        }

        let (map, made) = (map(10), Cell::new(0));
        for _ in 0..5 {
            map.get_or_insert(&Counted(7, &made), |_| Value::new(), || 0);
            map.get(&Counted(7, &made));
        }
        assert_eq!(made.get(), 1);
    }

    proptest! {
        // The list holds what the map is known to hold, and when that was last asked for.
        #[test]
        fn agrees_with_a_list(
            most in 1..20_u32,
            steps in prop::collection::vec((0..30_u32, 0..10_u64, 0..10_u8), 0..300),
        ) {
            let map = map(most as usize);
            let mut list = BTreeMap::<u32, (Value, u64)>::new();
            let (mut now, mut overflowed) = (0, 0);
            for (key, pause, order) in steps {
                now += pause;
                let known = list.get(&key).map(|(value, _)| value.clone());
                let pinned = list.values().filter(|(value, _)| value.stays()).count();
                let value = ask(&map, key, now);
                let held: BTreeMap<_, _> = map.entries().into_iter().collect();
                prop_assert_eq!(held.len(), map.entries().len(), "a key is there twice");
                prop_assert_eq!(held.len(), map.len());
                prop_assert!(held.len() <= most as usize);

                let gone: Vec<_> = list.keys().filter(|key| !held.contains_key(key)).copied().collect();
                let gone: Vec<_> = gone.iter().filter_map(|key| list.remove(key)).collect();
                prop_assert!(gone.iter().all(|(value, _)| !value.stays()));
                let victims = gone.iter().filter(|(_, used)| now - used < IDLE).count();
                prop_assert!(victims <= 1, "one place is enough");
                prop_assert!(victims == 0 || held.len() + gone.len() == most as usize + 1);
                match (&known, &value) {
                    (Some(known), Some(value)) => {
                        prop_assert!(value.is(known));
                        prop_assert!(gone.is_empty(), "nobody came");
                    }
                    (Some(_), None) => prop_assert!(false, "it was there"),
                    (None, Some(_)) => {}
                    (None, None) => {
                        prop_assert_eq!(pinned, most as usize, "one of them may go");
                        overflowed += 1;
                    }
                }
                prop_assert_eq!(map.overflowed(), overflowed);
                if let Some(value) = value {
                    match order {
                        0..3 => value.stay(true),
                        3..7 => value.stay(false),
                        _ => {}
                    }
                    list.insert(key, (value, now));
                }
                for (key, (value, _)) in &list {
                    prop_assert!(value.is(&held[key]));
                }
                prop_assert_eq!(list.len(), held.len());
            }
        }
    }
}

//! Responses in memory, within a budget of bytes.

use std::{
    collections::VecDeque,
    fmt,
    future::{Ready, ready},
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use foldhash::fast::RandomState;
use http::Uri;
use quick_cache::{
    OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle},
};

use super::{
    entry::{Entry, Variant},
    key::{CacheKey, CacheKeyRef},
    store::{Peek, Stamp, Store},
};
use crate::{
    rules::key::same_target,
    sync::{Mutex, MutexGuard, lock},
};

/// Writes to keys that fall into one of these wait for each other.
const STRIPES: usize = 64;

/// So many invalidations are remembered in each.
const RECENT: usize = 64;

/// A shard holds at least so many of the largest bodies.
const BODIES_IN_SHARD: u64 = 4;

/// What is counted for each key beside its bytes.
const KEY: usize = 128;

static NOTHING: Entry = Entry::new();

/// Responses in memory, up to a number of bytes that counts bodies, header fields
/// and keys. What was not used for long goes first; clones share it.
///
/// ```
/// use palisade_cache::MemoryStore;
///
/// let store = MemoryStore::new(64 << 20).max_body(8 << 20);
/// assert!(store.is_empty());
/// ```
#[derive(Clone)]
#[must_use]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    entries: Cache<CacheKey, Entry, ByWeight, RandomState>,
    stripes: Box<[Mutex<Stripe>]>,
    hasher: RandomState,
    sequence: AtomicU64,
    budget: u64,
    max_body: u64,
}

/// What was invalidated of late, so that what was asked for before is not stored.
#[derive(Default)]
struct Stripe {
    // By the hash of the key, the latest last.
    recent: VecDeque<(u64, Stamp)>,
    // What was asked for before, and may be under way, is not stored.
    floor: Stamp,
    // Of before that, it is not known any more what was invalidated.
    forgotten: Stamp,
}

impl Stripe {
    fn invalidate(&mut self, hash: u64, now: Stamp) {
        if RECENT <= self.recent.len() {
            let oldest = self.recent.pop_front();
            self.forgotten = self.forgotten.max(oldest.map_or(now, |(_, at)| at));
        }
        self.recent.push_back((hash, now));
    }

    /// Whether nothing that was asked for at such a time is stored any more.
    fn refuses(&self, key: Hashes, asked: Stamp) -> bool {
        asked < self.floor || self.invalidates(key, asked)
    }

    /// Whether what was stored was invalidated since, as far as is known.
    fn invalidates(&self, key: Hashes, asked: Stamp) -> bool {
        let is_of = |hash: u64| hash == key.own || hash == key.without_body;
        asked < self.forgotten || self.recent.iter().any(|(hash, at)| is_of(*hash) && asked < *at)
    }

    /// What is still valid of what is stored. With a key of no body go those of all bodies, and
    /// are not looked for then.
    fn current(&self, key: CacheKeyRef<'_>, hashes: Hashes, entry: Entry) -> Option<Entry> {
        if !key.has_body() {
            return Some(entry);
        }
        entry.filtered(|variant| !self.invalidates(hashes, variant.stamp()))
    }
}

/// Of a key, and of the same without what identifies a body.
#[derive(Clone, Copy)]
struct Hashes {
    own: u64,
    without_body: u64,
}

#[derive(Clone)]
struct ByWeight;

impl Weighter<CacheKey, Entry> for ByWeight {
    fn weight(&self, key: &CacheKey, entry: &Entry) -> u64 {
        (key.len() + entry.weight() + KEY) as u64
    }
}

impl MemoryStore {
    /// A store of so many bytes. The largest body is a sixteenth of that.
    ///
    /// # Panics
    ///
    /// If there are none.
    #[track_caller]
    pub fn new(bytes: u64) -> Self {
        assert!(bytes != 0, "a store of no bytes stores nothing");
        Self::of(bytes, (bytes / 16).max(1))
    }

    /// Sets how many bytes the largest body has. Defaults to a sixteenth of
    /// all, and is a quarter of that at most. Makes an empty store.
    pub fn max_body(self, bytes: u64) -> Self {
        Self::of(self.shared.budget, bytes.clamp(1, (self.shared.budget / BODIES_IN_SHARD).max(1)))
    }

    fn of(budget: u64, max_body: u64) -> Self {
        // A shard has its part of the budget for itself: with too many of them, large bodies fit
        // into none.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let fitting = budget / max_body.saturating_mul(BODIES_IN_SHARD).max(1);
        let shards = usize::try_from(fitting).unwrap_or(usize::MAX).clamp(1, 4 * cores);
        // The store takes a power of two that is no lower.
        let shards = if shards.is_power_of_two() { shards } else { shards.next_power_of_two() / 2 };
        let entries = usize::try_from(budget / 4096).unwrap_or(usize::MAX);
        let options = OptionsBuilder::new()
            .shards(shards)
            .estimated_items_capacity(entries.clamp(32 * shards, 1 << 20))
            .weight_capacity(budget)
            .build()
            .expect("both capacities are set");
        let hasher = RandomState::default();
        let entries =
            Cache::with_options(options, ByWeight, hasher.clone(), DefaultLifecycle::default());
        let stripes = (0..STRIPES).map(|_| Mutex::default()).collect();
        let sequence = AtomicU64::new(1);
        let shared = Shared { entries, stripes, hasher, sequence, budget, max_body };
        Self { shared: Arc::new(shared) }
    }

    /// How many URIs there is something for, each once per partition.
    pub fn len(&self) -> usize {
        self.shared.entries.len()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.shared.entries.is_empty()
    }

    /// How many bytes of the budget are used.
    pub fn weight(&self) -> u64 {
        self.shared.entries.weight()
    }

    /// Forgets what is stored for a URI, in all partitions. It looks at every
    /// key for that.
    pub fn remove(&self, uri: &Uri) {
        self.forget_all();
        self.shared.entries.retain(|key, _| !same_target(key.uri(), uri));
    }

    /// Forgets everything, and what is being fetched.
    pub fn clear(&self) {
        self.forget_all();
        self.shared.entries.clear();
    }

    /// Makes all stamps that are made from now on higher than this one: for a store
    /// that has this one in front of another, and takes the stamps of that.
    pub fn advance(&self, stamp: Stamp) {
        let next = stamp.number().saturating_add(1);
        self.shared.sequence.fetch_max(next, Ordering::Relaxed);
    }

    /// What is asked for now is not stored.
    fn forget_all(&self) {
        let now = self.stamp();
        for stripe in &self.shared.stripes {
            let mut stripe = lock(stripe);
            stripe.floor = stripe.floor.max(now);
        }
    }

    /// Who writes to a key holds this. With it come hashes of what makes it invalid.
    fn stripe(&self, key: CacheKeyRef<'_>) -> (MutexGuard<'_, Stripe>, Hashes) {
        let without_body = self.shared.hasher.hash_one(key.without_body());
        let own = if key.has_body() { self.shared.hasher.hash_one(key) } else { without_body };
        let stripe = &self.shared.stripes[without_body as usize % STRIPES];
        (lock(stripe), Hashes { own, without_body })
    }

    fn find(&self, key: CacheKeyRef<'_>) -> Option<Entry> {
        let entry = self.shared.entries.get(&key)?;
        if !key.has_body() {
            return Some(entry);
        }
        let (stripe, hashes) = self.stripe(key);
        stripe.current(key, hashes, entry)
    }
}

impl Store for MemoryStore {
    type Get = Ready<Option<Entry>>;

    #[inline]
    fn peek(&self, key: CacheKeyRef<'_>) -> Peek {
        self.find(key).map_or(Peek::Absent, Peek::Found)
    }

    fn get(&self, key: &CacheKey) -> Self::Get {
        ready(self.find(key.borrowed()))
    }

    fn stamp(&self) -> Stamp {
        Stamp::new(self.shared.sequence.fetch_add(1, Ordering::Relaxed))
    }

    fn is_current(&self, key: CacheKeyRef<'_>, asked: Stamp) -> bool {
        let (stripe, hashes) = self.stripe(key);
        !stripe.refuses(hashes, asked)
    }

    fn put(&self, key: &CacheKey, variant: Variant) -> bool {
        let shard = self.shared.entries.shard_capacity();
        let too_large = self.shared.max_body < variant.body().len() as u64
            || shard / 2 < (variant.weight() + key.len() + KEY) as u64;
        let (stripe, hashes) = self.stripe(key.borrowed());
        if too_large || stripe.refuses(hashes, variant.stamp()) {
            return false;
        }
        let old = self.shared.entries.peek(&key.borrowed());
        let old = old.and_then(|old| stripe.current(key.borrowed(), hashes, old));
        if old.as_ref().is_some_and(|old| old.outdates(&variant)) {
            return false;
        }
        let most = usize::try_from(shard / 2).unwrap_or(usize::MAX);
        let entry = old.as_ref().unwrap_or(&NOTHING).with(variant, most);
        self.shared.entries.insert(key.compacted(), entry);
        true
    }

    fn freshen(&self, key: &CacheKey, stale: &Variant, fresh: Variant) {
        let (stripe, hashes) = self.stripe(key.borrowed());
        // All may be about to be cleared, which does not wait for this.
        if stripe.refuses(hashes, fresh.stamp()) {
            return;
        }
        let old = self.shared.entries.peek(&key.borrowed());
        let old = old.and_then(|old| stripe.current(key.borrowed(), hashes, old));
        if let Some(entry) = old.and_then(|old| old.freshened(stale, fresh)) {
            self.shared.entries.insert(key.compacted(), entry);
        }
    }

    fn invalidate(&self, key: CacheKeyRef<'_>) {
        let (mut stripe, hashes) = self.stripe(key);
        stripe.invalidate(hashes.own, self.stamp());
        self.shared.entries.remove(&key);
    }

    fn max_body(&self) -> u64 {
        self.shared.max_body
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("entries", &self.len())
            .field("bytes", &self.weight())
            .finish_non_exhaustive()
    }
}

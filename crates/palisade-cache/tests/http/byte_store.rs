//! A store in another place, which holds nothing but bytes: made of what is public alone.

use std::{
    collections::{BTreeMap, HashMap},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::SystemTime,
};

use bytes::Bytes;
use palisade_cache::{
    CacheKey, CacheKeyRef, Entry, MemoryStore, Peek, Secret, Stamp, Store, Variant,
};
use palisade_core::WallClock;
use palisade_testkit::PausedClock;

/// So often a task is polled in vain before something has come from there, or has
/// got there.
const POLLS: usize = 3;

/// What is in the other place: bytes under names, and the names that were written.
#[derive(Default)]
pub(crate) struct Remote {
    pub(crate) values: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) written: Vec<Vec<u8>>,
}

/// One process' way there. Clones are of the same process.
#[derive(Clone)]
pub(crate) struct ByteStore {
    pub(crate) remote: Arc<Mutex<Remote>>,
    secret: Secret,
    clock: Arc<PausedClock>,
    process: u64,
    last: Arc<AtomicU64>,
    // What this process knows to be invalid, even before that is known there.
    invalid: Arc<Mutex<HashMap<[u8; 16], Stamp>>>,
}

impl ByteStore {
    pub(crate) fn new(secret: Secret, clock: Arc<PausedClock>) -> Self {
        let (remote, last, invalid) = (Arc::default(), Arc::default(), Arc::default());
        Self { remote, secret, clock, process: 0, last, invalid }
    }

    /// That of another process.
    pub(crate) fn of_process(&self, process: u64) -> Self {
        let (last, invalid) = (Arc::default(), Arc::default());
        Self { process, last, invalid, ..self.clone() }
    }

    /// Does something there, at once with regard to all others, and some time from now.
    fn later(&self, work: impl FnOnce(&mut Remote) + Send + 'static) {
        let remote = Arc::clone(&self.remote);
        tokio::spawn(async move {
            Moment(POLLS).await;
            work(&mut remote.lock().unwrap());
        });
    }
}

impl Store for ByteStore {
    type Get = Pin<Box<dyn Future<Output = Option<Entry>> + Send>>;

    fn get(&self, key: &CacheKey) -> Self::Get {
        let (store, digest) = (self.clone(), key.digest(&self.secret));
        let key = key.to_bytes();
        Box::pin(async move {
            Moment(POLLS).await;
            let entry = store.remote.lock().unwrap().read(&Place { digest, key });
            let invalid = store.invalid.lock().unwrap().get(&digest).copied();
            let older = |variant: &Variant| Some(variant.stamp()) < invalid;
            (!entry.variants().is_empty() && !entry.variants().iter().any(older)).then_some(entry)
        })
    }

    /// The time in microseconds, and which process it is. No two of a process are the same.
    fn stamp(&self) -> Stamp {
        let time = self.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let now = u64::try_from(time.as_micros()).unwrap() << 8;
        let next = |last: u64| Some(now.max((last | 0xff) + 1) | self.process);
        let last = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap();
        Stamp::new(next(last).unwrap())
    }

    fn put(&self, key: &CacheKey, variant: Variant) -> bool {
        let place = Place { digest: key.digest(&self.secret), key: key.to_bytes() };
        let secret = self.secret.clone();
        self.later(move |remote| {
            let old = remote.read(&place);
            let invalid = remote.values.get(&place.name(b'i', &[])).and_then(|at| stamp(at));
            if Some(variant.stamp()) < invalid || old.outdates(&variant) {
                return;
            }
            let entry = old.with(variant.clone(), usize::MAX);
            let kept = entry.variants().iter().map(|kept| kept.selector_digest(&secret));
            remote.keep(&place, &kept.collect::<Vec<_>>());
            let slot = variant.selector_digest(&secret);
            remote.write(place.name(b'h', &slot), &variant.head_to_bytes());
            remote.write(place.name(b'b', &slot), variant.body());
        });
        true
    }

    fn freshen(&self, key: &CacheKey, stale: &Variant, fresh: Variant) {
        let place = Place { digest: key.digest(&self.secret), key: key.to_bytes() };
        let (secret, stale) = (self.secret.clone(), stale.clone());
        self.later(move |remote| {
            let Some(entry) = remote.read(&place).freshened(&stale, fresh.clone()) else {
                return;
            };
            let kept = entry.variants().iter().map(|kept| kept.selector_digest(&secret));
            remote.keep(&place, &kept.collect::<Vec<_>>());
            let slot = fresh.selector_digest(&secret);
            remote.write(place.name(b'h', &slot), &fresh.head_to_bytes());
            // It is for other requests now.
            if slot != stale.selector_digest(&secret) {
                remote.write(place.name(b'b', &slot), fresh.body());
            }
        });
    }

    fn invalidate(&self, key: CacheKeyRef<'_>) {
        let key = key.to_key();
        let (now, digest) = (self.stamp(), key.digest(&self.secret));
        let place = Place { digest, key: key.to_bytes() };
        self.invalid.lock().unwrap().insert(digest, now);
        self.later(move |remote| {
            let name = place.name(b'i', &[]);
            let known = remote.values.get(&name).and_then(|at| stamp(at));
            let latest = known.max(Some(now)).map_or(0, Stamp::number);
            remote.values.retain(|name, _| !name.starts_with(&place.digest));
            remote.write(name, &latest.to_le_bytes());
        });
    }

    fn is_current(&self, key: CacheKeyRef<'_>, asked: Stamp) -> bool {
        let digest = key.to_key().digest(&self.secret);
        self.invalid.lock().unwrap().get(&digest).is_none_or(|at| *at <= asked)
    }

    fn max_body(&self) -> u64 {
        1 << 20
    }
}

/// A store in memory in front of the one in another place.
#[derive(Clone)]
pub(crate) struct Tiers {
    pub(crate) memory: MemoryStore,
    pub(crate) remote: ByteStore,
}

impl Store for Tiers {
    type Get = <ByteStore as Store>::Get;

    fn peek(&self, key: CacheKeyRef<'_>) -> Peek {
        match self.memory.peek(key) {
            Peek::Absent => Peek::Ask,
            found => found,
        }
    }

    fn get(&self, key: &CacheKey) -> Self::Get {
        let (memory, remote, key) = (self.memory.clone(), self.remote.get(key), key.clone());
        Box::pin(async move {
            let found = remote.await?;
            for variant in found.variants().iter().rev() {
                memory.put(&key, variant.clone());
            }
            Some(found)
        })
    }

    fn stamp(&self) -> Stamp {
        let stamp = self.remote.stamp();
        self.memory.advance(stamp);
        stamp
    }

    fn put(&self, key: &CacheKey, variant: Variant) -> bool {
        // What does not fit into memory fits in there.
        self.memory.put(key, variant.clone());
        self.remote.put(key, variant)
    }

    fn freshen(&self, key: &CacheKey, stale: &Variant, fresh: Variant) {
        self.memory.freshen(key, stale, fresh.clone());
        self.remote.freshen(key, stale, fresh);
    }

    fn invalidate(&self, key: CacheKeyRef<'_>) {
        self.stamp();
        self.memory.invalidate(key);
        self.remote.invalidate(key);
    }

    fn is_current(&self, key: CacheKeyRef<'_>, asked: Stamp) -> bool {
        self.memory.is_current(key, asked) && self.remote.is_current(key, asked)
    }

    fn max_body(&self) -> u64 {
        self.remote.max_body()
    }
}

/// Where all that belongs to a key is.
struct Place {
    digest: [u8; 16],
    key: Bytes,
}

impl Place {
    /// The key in full, the list of slots, when it was made invalid; and of each
    /// slot a head and a body.
    fn name(&self, kind: u8, slot: &[u8]) -> Vec<u8> {
        [&self.digest, &[kind][..], slot].concat()
    }
}

impl Remote {
    /// What there is that can be read.
    fn read(&self, place: &Place) -> Entry {
        let none = Vec::new();
        let value = |name| self.values.get(&name).unwrap_or(&none);
        if *value(place.name(b'k', &[])) != place.key {
            return Entry::new();
        }
        let slots = value(place.name(b's', &[])).chunks(16);
        slots.rev().fold(Entry::new(), |entry, slot| {
            let [head, body] =
                [b'h', b'b'].map(|kind| Bytes::copy_from_slice(value(place.name(kind, slot))));
            match Variant::from_bytes(head, body) {
                Ok(variant) => entry.with(variant, usize::MAX),
                Err(_) => entry,
            }
        })
    }

    /// Leaves only these slots, the newest first.
    fn keep(&mut self, place: &Place, slots: &[[u8; 16]]) {
        self.values.retain(|name, _| match name.strip_prefix(&place.digest) {
            Some([b'h' | b'b', slot @ ..]) => slots.iter().any(|kept| kept == slot),
            _ => true,
        });
        self.write(place.name(b'k', &[]), &place.key);
        self.write(place.name(b's', &[]), slots.as_flattened());
    }

    fn write(&mut self, name: Vec<u8>, value: &[u8]) {
        self.written.push(name.clone());
        self.values.insert(name, value.to_vec());
    }
}

fn stamp(bytes: &[u8]) -> Option<Stamp> {
    Some(Stamp::new(u64::from_le_bytes(bytes.try_into().ok()?)))
}

/// Is pending for so many polls.
pub(crate) struct Moment(pub(crate) usize);

impl Future for Moment {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(left) = self.0.checked_sub(1) else {
            return Poll::Ready(());
        };
        self.0 = left;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Until all that was to be written is there.
pub(crate) async fn settled() {
    Moment(4 * POLLS).await;
}

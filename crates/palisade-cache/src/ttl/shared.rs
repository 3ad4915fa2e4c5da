use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use foldhash::quality::RandomState;

use super::{
    flight::Flight,
    pause::Pause,
    rules::Status,
    store::{Bounds, Entry, Removed, Store},
};
use crate::sync::{Mutex, MutexGuard, lock};

/// How many calls are made one after the other for those who wait, before each
/// of them makes its own.
const ATTEMPTS: u32 = 3;

/// What is given to everybody who waits.
#[derive(Debug)]
pub(crate) struct Landed<V> {
    pub(crate) entry: Arc<Entry<V>>,
    // It is past its time, and there is no other.
    pub(crate) stale: bool,
}

impl<V> Clone for Landed<V> {
    fn clone(&self) -> Self {
        Self { entry: Arc::clone(&self.entry), stale: self.stale }
    }
}

/// The answers, and the calls for more.
///
/// Whoever writes holds the lock of the calls: an answer is kept only as long
/// as its call is the one for its key, so that none that is older takes the
/// place of one that was put there, or comes back after it was removed.
pub(crate) struct Shared<K, V, C> {
    pub(crate) store: Store<K, V>,
    flights: Mutex<Flights<K, V, C>>,
    pub(crate) counts: Counts,
}

/// What was done, for [`CacheStats`](crate::CacheStats).
//
// Every hit writes it: not where every hit reads.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counts {
    pub(crate) hits: AtomicU64,
    pub(crate) stale: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) collapsed: AtomicU64,
    pub(crate) refreshed: AtomicU64,
    pub(crate) unrefreshed: AtomicU64,
    pub(crate) oversized: AtomicU64,
}

/// A place in a flight.
pub(crate) struct Seat<V, C> {
    pub(crate) flight: Flying<V, C>,
    pub(crate) place: usize,
}

/// An answer, and as what it is given.
pub(crate) type Given<V> = (Arc<Entry<V>>, Status);

impl<V, C> Seat<V, C> {
    fn in_flight(flight: Flying<V, C>) -> Self {
        let place = flight.enter();
        Self { flight, place }
    }
}

impl<K: Clone + Eq + Hash, V, C> Shared<K, V, C> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let store = Store::new(bounds);
        Self { store, flights: Mutex::new(HashMap::default()), counts: Counts::default() }
    }

    /// Takes a place in the flight for a key, or begins one, unless an answer of
    /// use has been kept meanwhile. If none is to be shared, it is one of its own,
    /// and what it brings is kept if no other was under way.
    pub(crate) fn join(
        &self,
        key: &K,
        shares: bool,
        as_it_is: impl FnOnce(&Entry<V>) -> Option<Status>,
    ) -> Result<Seat<V, C>, Given<V>> {
        let flights = lock(&self.flights);
        let flight = flights.get(key).filter(|flight| flight.is_open());
        match flight {
            Some(flight) if shares => return Ok(Seat::in_flight(Arc::clone(flight))),
            Some(_) => return Ok(Seat::in_flight(Arc::new(Flight::new(ATTEMPTS)))),
            None => {}
        }
        let kept = self.store.peek(key);
        match kept.as_deref().and_then(as_it_is).zip(kept.as_ref()) {
            Some((status, entry)) => Err((Arc::clone(entry), status)),
            // It may have been evicted only now, and is dropped without the lock.
            None => Ok(Self::begin(flights, key)),
        }
    }

    /// Begins a flight for a key that has an answer, unless there is one, or
    /// another answer, or the last one has come to nothing only now.
    pub(crate) fn refresh(
        &self,
        key: &K,
        seen: &Arc<Entry<V>>,
        is_on: impl FnOnce(Pause) -> bool,
    ) -> Option<Seat<V, C>> {
        let flights = lock(&self.flights);
        let flies = flights.get(key).is_some_and(|flight| flight.is_open());
        let current = self.store.peek(key);
        let is_seen = current.as_ref().is_none_or(|entry| Arc::ptr_eq(entry, seen));
        let begins = is_seen && !flies && !is_on(seen.pause());
        let seat = begins.then(|| Self::begin(flights, key));
        // What was evicted only now is dropped without the lock.
        drop(current);
        seat
    }

    fn begin(mut flights: MutexGuard<'_, Flights<K, V, C>>, key: &K) -> Seat<V, C> {
        let seat = Seat::in_flight(Arc::new(Flight::new(ATTEMPTS)));
        // One that is over may still be there.
        let over = flights.remove_entry(key);
        flights.insert(key.clone(), Arc::clone(&seat.flight));
        drop(flights);
        drop(over);
        seat
    }

    /// Keeps what a flight has brought, or removes what was kept before it, if
    /// this is still the flight for its key. From then on nobody joins it.
    pub(crate) fn land(&self, key: &K, flight: &Flying<V, C>, entry: Option<Arc<Entry<V>>>) {
        let mut removed = Removed::default();
        let mut flights = lock(&self.flights);
        if let Some((key, _)) = take(&mut flights, key, flight) {
            match entry {
                Some(entry) => self.store.insert(key, entry, &mut removed),
                None => self.store.remove(&key, &mut removed),
            }
        }
        drop(flights);
    }

    /// Lets nobody join a flight any more, whatever it brings.
    pub(crate) fn forget(&self, key: &K, flight: &Flying<V, C>) {
        let taken = take(&mut lock(&self.flights), key, flight);
        drop(taken);
    }

    /// Forgets a flight that nobody waits for.
    pub(crate) fn sweep(&self, key: &K, flight: &Flying<V, C>) {
        let taken = {
            let mut flights = lock(&self.flights);
            // Somebody may have come meanwhile.
            match flight.is_empty() {
                true => take(&mut flights, key, flight),
                false => None,
            }
        };
        drop(taken);
    }

    pub(crate) fn insert(&self, key: K, entry: Option<Arc<Entry<V>>>) {
        let mut removed = Removed::default();
        let mut flights = lock(&self.flights);
        let flight = flights.remove_entry(&key);
        match entry {
            Some(entry) => self.store.insert(key, entry, &mut removed),
            None => self.store.remove(&key, &mut removed),
        }
        drop(flights);
        drop(flight);
    }

    pub(crate) fn remove(&self, key: &K) -> bool {
        let mut removed = Removed::default();
        let mut flights = lock(&self.flights);
        let flight = flights.remove_entry(key);
        self.store.remove(key, &mut removed);
        drop(flights);
        drop(flight);
        removed.len() != 0
    }

    pub(crate) fn clear(&self) {
        let mut removed = Removed::default();
        let mut flights = lock(&self.flights);
        let forgotten = std::mem::take(&mut *flights);
        self.store.clear(&mut removed);
        drop(flights);
        drop(forgotten);
    }

    pub(crate) fn in_flight(&self) -> usize {
        lock(&self.flights).len()
    }
}

/// A call that several wait for.
pub(crate) type Flying<V, C> = Arc<Flight<Landed<V>, C>>;

type Flights<K, V, C> = HashMap<K, Flying<V, C>, RandomState>;

/// Takes a flight out, if it is the one for this key.
fn take<K: Eq + Hash, V, C>(
    flights: &mut Flights<K, V, C>,
    key: &K,
    flight: &Flying<V, C>,
) -> Option<(K, Flying<V, C>)> {
    let current = flights.get(key).is_some_and(|current| Arc::ptr_eq(current, flight));
    current.then(|| flights.remove_entry(key)).flatten()
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

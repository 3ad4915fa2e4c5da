//! What is being fetched, and who may join.

use std::{
    collections::HashMap,
    fmt,
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use foldhash::fast::RandomState;
use palisade_core::Now;
use tokio::time::Instant;

use super::{
    key::{CacheKey, CacheKeyRef},
    outcome::Heard,
    recent::{Recent, Rest},
    seat::{Follow, Seat},
    store::Stamp,
};
use crate::sync::{Mutex, lock};

/// For how long it is not looked at what comes, if that was not meant to be stored.
const UNSEEN: Duration = Duration::from_secs(1);

/// For how long all is looked at, if something was not that could have been stored. Who asks in a
/// way that is stored loses one answer, however many others ask for the same in another way.
const MIXED: Duration = Duration::from_secs(3_600);

/// What is being fetched, by key.
#[derive(Default)]
pub(crate) struct Flights {
    flights: Mutex<Table>,
    hasher: RandomState,
    last: AtomicU64,
}

#[derive(Default)]
struct Table {
    by_key: HashMap<CacheKey, Filling, RandomState>,
    // What came could not be shared: until then each request goes by itself.
    passing: Recent<Passing>,
    // What came unseen could have been stored: until then all is looked at. By themselves, as these
    // stay for long: together, many of one kind would leave no room for the other.
    mixed: Recent<()>,
    // What is stored was to be made fresh, and was not yet.
    resting: Recent<Rest>,
}

/// What came could not be shared.
#[derive(Clone, Copy)]
struct Passing {
    // Until then each request goes by itself.
    alone: Instant,
    // Nor is it looked at what comes, until then.
    unseen: Option<Instant>,
}

/// By what is known of it: a request that passes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passed(u64);

/// Somebody fetches it.
struct Filling {
    fill: Arc<dyn Follow<Heard>>,
    id: u64,
    // It was taken before.
    stamp: Stamp,
    joined: bool,
}

/// What a request is to do that finds nothing.
pub(crate) enum Joined<L> {
    /// It waits with others.
    Follows(Seat<Heard>),
    /// It fetches, and others may join.
    Leads(L),
    /// It goes by itself.
    Alone,
}

/// Which fetches are joined.
pub(crate) struct Terms<C> {
    /// One of which nothing came for longer than this is not waited for.
    pub(crate) patience: Duration,
    /// When the request came, as the store counts it.
    pub(crate) stamp: Stamp,
    /// Whether it still matters what was asked for at such a time.
    pub(crate) is_current: C,
}

impl Flights {
    /// Joins who fetches this, or makes what others can join.
    ///
    /// What is made is told its id, which is above zero.
    pub(crate) fn join<L, F: Follow<Heard> + 'static>(
        &self,
        key: CacheKey,
        terms: Terms<impl Fn(&CacheKey, Stamp) -> bool>,
        make: impl FnOnce(u64) -> (L, Arc<F>),
    ) -> Joined<L> {
        let Terms { patience, stamp, is_current } = terms;
        loop {
            let mut table = lock(&self.flights);
            if let Some(filling) = table.by_key.get_mut(&key)
                && let Some(seat) = Seat::take(&filling.fill, Instant::now(), patience)
            {
                filling.joined = true;
                let (id, stamp) = (filling.id, filling.stamp);
                drop(table);
                // It asks the store, so not under the lock.
                if is_current(&key, stamp) {
                    return Joined::Follows(seat);
                }
                self.land(&key, id);
                continue;
            }
            if !table.passing.is_empty() {
                let hash = self.hasher.hash_one(&key);
                let now = Instant::now();
                if table.passing.get(hash, now).is_some_and(|passing| now < passing.alone) {
                    return Joined::Alone;
                }
            }
            let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
            let (lead, fill) = make(id);
            let before = table.by_key.insert(key, Filling { fill, id, stamp, joined: false });
            drop(table);
            drop(before);
            return Joined::Leads(lead);
        }
    }

    /// Nobody can join this one any more.
    pub(crate) fn land(&self, key: &CacheKey, id: u64) {
        let landed = lock(&self.flights).remove(key, |filling| filling.id == id);
        drop(landed);
    }

    /// The same, for somebody who sits there.
    pub(crate) fn land_from(&self, key: &CacheKey, seat: &Seat<Heard>) {
        let landed = lock(&self.flights).remove(key, |filling| seat.is_at(&filling.fill));
        drop(landed);
    }

    /// Nobody can join what is being fetched by this key any more: it may be older
    /// than what is asked for now.
    pub(crate) fn forget(&self, key: CacheKeyRef<'_>) {
        let mut table = lock(&self.flights);
        // Nothing is fetched, mostly: then no key has to be made.
        if table.by_key.is_empty() {
            return;
        }
        let landed = table.remove(&key.to_key(), |_| true);
        drop(table);
        drop(landed);
    }

    /// Nobody can join this one any more, and who asks for it does not wait for
    /// others for a while, if somebody has waited in vain; nor is it looked at what
    /// comes, if it is `meant` not to be stored.
    pub(crate) fn pass(&self, key: &CacheKey, id: u64, meant: bool, remember: Duration) {
        let mut table = lock(&self.flights);
        let landed = match id {
            0 => None,
            id => table.remove(key, |filling| filling.id == id),
        };
        let in_vain = landed.as_ref().is_some_and(|landed| landed.joined);
        if (in_vain || meant) && !remember.is_zero() {
            // No longer than anybody minds.
            let longest = if in_vain { Duration::from_secs(86_400) } else { 2 * UNSEEN };
            let now = Instant::now();
            let hash = self.hasher.hash_one(key);
            let before = table.passing.get(hash, now).map_or(now, |known| known.alone);
            let alone = before.max(now + remember.min(longest));
            let unseen = meant && table.mixed.get(hash, now).is_none();
            let unseen = unseen.then(|| now + UNSEEN.min(remember / 2));
            table.passing.remember(hash, Passing { alone, unseen }, now, alone);
        }
        drop(table);
        drop(landed);
    }

    /// What has passed could have been stored, for somebody: none passes for a while.
    pub(crate) fn mix(&self, Passed(hash): Passed) {
        let (mut table, now) = (lock(&self.flights), Instant::now());
        if let Some(known) = table.passing.get_mut(hash, now) {
            known.unseen = None;
        }
        table.mixed.remember(hash, (), now, now + MIXED);
    }

    /// Whether what comes is most likely not stored, and not looked at for that.
    pub(crate) fn passes(&self, key: CacheKeyRef<'_>) -> Option<Passed> {
        let passing = &lock(&self.flights).passing;
        if passing.is_empty() {
            return None;
        }
        let (hash, now) = (self.hasher.hash_one(key), Now::by(Instant::now));
        let unseen = passing.get(hash, now)?.unseen?;
        (now < unseen).then_some(Passed(hash))
    }

    /// Whether nothing came of the last attempts to make fresh what is stored, so
    /// that there is time until the next one.
    pub(crate) fn rests(&self, key: &CacheKey) -> bool {
        let table = lock(&self.flights);
        if table.resting.is_empty() {
            return false;
        }
        let now = Instant::now();
        let rest = table.resting.get(self.hasher.hash_one(key), now);
        rest.is_some_and(|rest| !rest.is_over(now))
    }

    /// There is an attempt to make fresh what is stored.
    pub(crate) fn rest(&self, key: &CacheKey) {
        let (hash, now) = (self.hasher.hash_one(key), Instant::now());
        let resting = &mut lock(&self.flights).resting;
        let rest = Rest::after(resting.get(hash, now), now);
        resting.remember(hash, rest, now, rest.forgotten());
    }

    /// What is stored is fresh now.
    pub(crate) fn refreshed(&self, key: &CacheKey) {
        let resting = &mut lock(&self.flights).resting;
        if !resting.is_empty() {
            resting.forget(self.hasher.hash_one(key));
        }
    }
}

impl Table {
    fn remove(&mut self, key: &CacheKey, is: impl FnOnce(&Filling) -> bool) -> Option<Filling> {
        self.by_key.get(key).is_some_and(is).then(|| self.by_key.remove(key)).flatten()
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").field("keys", &lock(&self.flights).by_key.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use http::Uri;
    use tokio::time::advance;

    use super::*;
    use crate::http::partition::CachePartition;

    const SECONDS: Duration = Duration::from_secs(2);

    fn key(path: &'static str) -> CacheKey {
        CacheKey::new(CachePartition::default(), Uri::from_static(path))
    }

    /// An answer that is meant for no cache.
    fn see(flights: &Flights, key: &CacheKey) {
        flights.pass(key, 0, true, SECONDS);
    }

    fn passes(flights: &Flights, key: &CacheKey) -> Option<Passed> {
        flights.passes(key.borrowed())
    }

    #[tokio::test(start_paused = true)]
    async fn however_much_is_looked_at_for_long_something_else_passes() {
        let flights = Flights::default();
        for hash in 0..1 << 17 {
            flights.mix(Passed(hash));
        }
        advance(SECONDS).await;
        let key = key("/x");
        see(&flights, &key);
        assert!(passes(&flights, &key).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn however_much_passes_what_could_have_been_stored_is_looked_at_for_long() {
        let (flights, key) = (Flights::default(), key("/x"));
        see(&flights, &key);
        let passed = passes(&flights, &key).unwrap();
        // It is answered late, when nobody knows of it any more, and all that is known is of others.
        advance(SECONDS).await;
        let (now, until) = (Instant::now(), Instant::now() + SECONDS);
        for hash in 0..1 << 17 {
            let known = Passing { alone: until, unseen: None };
            lock(&flights.flights).passing.remember(hash, known, now, until);
        }
        flights.mix(passed);
        advance(SECONDS).await;
        see(&flights, &key);
        assert!(passes(&flights, &key).is_none());
        advance(MIXED).await;
        see(&flights, &key);
        assert!(passes(&flights, &key).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_have_been_stored_passes_no_more_from_then_on() {
        let (flights, one, other) = (Flights::default(), key("/x"), key("/y"));
        see(&flights, &one);
        see(&flights, &other);
        flights.mix(passes(&flights, &one).unwrap());
        assert!(passes(&flights, &one).is_none() && passes(&flights, &other).is_some());
    }
}

//! What is being fetched, and who may join.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::{
    fill::{Follow, Seat},
    key::CacheKey,
    outcome::Heard,
};
use crate::sync::{Mutex, lock};

/// So many keys there are before those are looked for that are not remembered any more.
const FIRST_SWEEP: usize = 1024;

/// Beyond so many, nothing more is remembered.
const MOST: usize = 1 << 16;

/// What is being fetched, by key.
#[derive(Default)]
pub(crate) struct Flights {
    flights: Mutex<Table>,
    last: AtomicU64,
}

#[derive(Default)]
struct Table {
    by_key: HashMap<CacheKey, Flight, RandomState>,
    // When there are so many, it is swept.
    sweep_at: usize,
}

enum Flight {
    /// Somebody fetches it.
    Filling { fill: Arc<dyn Follow<Heard>>, id: u64, joined: bool },
    /// What came could not be shared: until then each request goes by itself.
    Passing { until: Instant },
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

impl Flights {
    /// Joins who fetches this, or makes what others can join. One of which nothing
    /// came for longer than this is not waited for.
    ///
    /// What is made is told its id, which is above zero.
    pub(crate) fn join<L, F: Follow<Heard> + 'static>(
        &self,
        key: CacheKey,
        patience: Duration,
        make: impl FnOnce(u64) -> (L, Arc<F>),
    ) -> Joined<L> {
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let mut table = lock(&self.flights);
        match table.by_key.get_mut(&key) {
            Some(Flight::Filling { fill, joined, .. }) => {
                if let Some(seat) = Seat::take(fill, Instant::now(), patience) {
                    *joined = true;
                    return Joined::Follows(seat);
                }
            }
            Some(Flight::Passing { until }) if Instant::now() < *until => return Joined::Alone,
            _ => {}
        }
        let (lead, fill) = make(id);
        let before = table.by_key.insert(key, Flight::Filling { fill, id, joined: false });
        drop(table);
        drop(before);
        Joined::Leads(lead)
    }

    /// Nobody can join this one any more.
    pub(crate) fn land(&self, key: &CacheKey, id: u64) {
        let mut table = lock(&self.flights);
        let landed = table.remove(key, id);
        drop(table);
        drop(landed);
    }

    /// Nobody can join what is being fetched by this key any more: it may be older
    /// than what is asked for now.
    pub(crate) fn forget(&self, key: &CacheKey) {
        let mut table = lock(&self.flights);
        let landed = match table.by_key.get(key) {
            Some(Flight::Filling { .. }) => table.by_key.remove(key),
            _ => None,
        };
        drop(table);
        drop(landed);
    }

    /// The same, and who asks for it does not wait for others for a while, if
    /// somebody has waited in vain.
    pub(crate) fn pass(&self, key: &CacheKey, id: u64, remember: Duration) {
        let mut table = lock(&self.flights);
        let landed = table.remove(key, id);
        if matches!(landed, Some(Flight::Filling { joined: true, .. })) && !remember.is_zero() {
            table.remember(key, remember);
        }
        drop(table);
        drop(landed);
    }
}

impl Table {
    fn remove(&mut self, key: &CacheKey, id: u64) -> Option<Flight> {
        match self.by_key.get(key) {
            Some(Flight::Filling { id: known, .. }) if *known == id => self.by_key.remove(key),
            _ => None,
        }
    }

    fn remember(&mut self, key: &CacheKey, remember: Duration) {
        let now = Instant::now();
        if self.sweep_at.max(FIRST_SWEEP) <= self.by_key.len() {
            self.by_key.retain(|_, flight| match flight {
                Flight::Filling { .. } => true,
                Flight::Passing { until } => now < *until,
            });
            // Not again before as many have come as there are.
            self.sweep_at = 2 * self.by_key.len();
        }
        if self.by_key.len() < MOST {
            // No longer than anybody minds.
            let until = now + remember.min(Duration::from_secs(86_400));
            self.by_key.insert(key.clone(), Flight::Passing { until });
        }
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").field("keys", &lock(&self.flights).by_key.len()).finish()
    }
}

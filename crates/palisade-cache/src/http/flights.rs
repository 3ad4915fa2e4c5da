//! What is being fetched, and who may join.

use std::{
    collections::{HashMap, hash_map},
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

/// So many keys that are not worth waiting for are remembered.
const MOST_REMEMBERED: usize = 4096;

/// There is room for so many at once, so that the map is not swept for each few that come and go.
const ROOM: usize = 28;

/// What is being fetched, by key.
pub(crate) struct Flights {
    flights: Mutex<HashMap<CacheKey, Flight, RandomState>>,
    last: AtomicU64,
}

impl Default for Flights {
    fn default() -> Self {
        let flights = HashMap::with_capacity_and_hasher(ROOM, RandomState::default());
        Self { flights: Mutex::new(flights), last: AtomicU64::default() }
    }
}

enum Flight {
    /// Somebody fetches it.
    Filling { fill: Arc<dyn Follow<Heard>>, id: u64 },
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
    /// Joins who fetches this, or makes what others can join.
    ///
    /// What is made is told its id, which is above zero.
    pub(crate) fn join<L, F: Follow<Heard> + 'static>(
        &self,
        key: CacheKey,
        make: impl FnOnce(u64) -> (L, Arc<F>),
    ) -> Joined<L> {
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let mut flights = lock(&self.flights);
        let place = flights.entry(key);
        if let hash_map::Entry::Occupied(place) = &place {
            match place.get() {
                Flight::Filling { fill, .. } => {
                    if let Some(seat) = Seat::take(fill) {
                        return Joined::Follows(seat);
                    }
                }
                Flight::Passing { until } if Instant::now() < *until => return Joined::Alone,
                Flight::Passing { .. } => {}
            }
        }
        let (lead, fill) = make(id);
        let flight = Flight::Filling { fill, id };
        let before = match place {
            hash_map::Entry::Occupied(mut place) => Some(place.insert(flight)),
            hash_map::Entry::Vacant(place) => {
                place.insert(flight);
                None
            }
        };
        drop(flights);
        drop(before);
        Joined::Leads(lead)
    }

    /// Nobody can join this one any more.
    pub(crate) fn land(&self, key: &CacheKey, id: u64) {
        let mut flights = lock(&self.flights);
        let landed = match flights.get(key) {
            Some(Flight::Filling { id: known, .. }) if *known == id => flights.remove(key),
            _ => None,
        };
        drop(flights);
        drop(landed);
    }

    /// The same, and who asks for it does not wait for others for a while.
    pub(crate) fn pass(&self, key: &CacheKey, id: u64, remember: Duration) {
        let now = Instant::now();
        let mut flights = lock(&self.flights);
        if !matches!(flights.get(key), Some(Flight::Filling { id: known, .. }) if *known == id) {
            return;
        }
        if MOST_REMEMBERED < flights.len() {
            flights.retain(|_, flight| match flight {
                Flight::Filling { .. } => true,
                Flight::Passing { until } => now < *until,
            });
        }
        let full = MOST_REMEMBERED < flights.len();
        let before = match remember.is_zero() || full {
            true => flights.remove(key),
            false => flights.insert(key.clone(), Flight::Passing { until: now + remember }),
        };
        drop(flights);
        drop(before);
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").field("keys", &lock(&self.flights).len()).finish()
    }
}

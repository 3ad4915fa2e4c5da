use std::sync::{Arc, PoisonError, atomic::Ordering};

use palisade_core::OwnedKey;
use palisade_keyed::{BoundedMap, Evict};
use palisade_settings::Random;

use crate::{
    Heard,
    bucket::Short,
    feedback::FeedbackSettings,
    sync::{AtomicU64, Mutex, MutexGuard},
    window::{Pause, Sent, Window},
};

/// What is learned from servers, for all limiters of a layer.
#[derive(Debug)]
pub(crate) struct Learned {
    settings: FeedbackSettings,
    random: Random,
    // Nothing goes before, whatever its key.
    everywhere: AtomicU64,
    buckets: BoundedMap<String, Counted>,
}

/// What a server lets through of the requests of one limiter.
#[derive(Debug)]
pub(crate) struct Server {
    learned: Arc<Learned>,
    place: Mutex<Place>,
}

/// With which requests those of a limiter are counted.
#[derive(Debug, Default)]
struct Place {
    counted: Counted,
    // It is that of a bucket, and others may be in there as well.
    named: bool,
}

/// What the server counts together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted(Arc<Mutex<Window>>);

/// How many names of buckets are known at once; what comes then is counted by
/// the limiter that it came to.
const MOST_BUCKETS: usize = 10_000;
const IDLE: u64 = 60_000_000_000;

impl Learned {
    pub(crate) fn new(settings: FeedbackSettings) -> Self {
        let bounds = palisade_keyed::Bounds { most: MOST_BUCKETS, idle: IDLE };
        Self {
            settings,
            random: Random::from_entropy(),
            everywhere: AtomicU64::new(0),
            buckets: BoundedMap::new(bounds),
        }
    }
}

impl Server {
    pub(crate) fn new(learned: Arc<Learned>) -> Self {
        Self { learned, place: Mutex::default() }
    }

    /// Takes so many tokens if the server has as many, and this does.
    pub(crate) fn take(
        &self,
        now: u64,
        cost: u32,
        take: impl FnOnce() -> Result<(), Short>,
    ) -> Result<(), Short> {
        let everywhere = self.learned.everywhere.load(Ordering::Relaxed);
        let counted = self.counted();
        let mut window = counted.lock();
        let free_at = window.free_at(cost.into()).max(everywhere);
        if now < free_at {
            return Err(Short::Until(free_at));
        }
        take()?;
        window.take(now, cost.into());
        Ok(())
    }

    /// When the server has so many.
    pub(crate) fn free_at(&self, cost: u64) -> u64 {
        let everywhere = self.learned.everywhere.load(Ordering::Relaxed);
        self.with(|window| window.free_at(cost)).max(everywhere)
    }

    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Window) -> R) -> R {
        act(&mut self.counted().lock())
    }

    /// A request is sent.
    pub(crate) fn send(&self, now: u64, cost: u32) -> (Counted, Sent) {
        let counted = self.counted();
        let sent = counted.lock().send(now, cost);
        (counted, sent)
    }

    /// Learns from the answer to a request, or from something else.
    pub(crate) fn hear(
        &self,
        now: u64,
        sent: Option<(Counted, Sent)>,
        heard: &Heard<'_>,
    ) -> Option<Pause> {
        let bucket = heard.allowances.bucket().filter(|_| self.learned.settings.share);
        let counted = match bucket {
            Some(bucket) => self.join(bucket, now),
            None => self.counted(),
        };
        let sent = sent.and_then(|(by, sent)| {
            let same = Arc::ptr_eq(&by.0, &counted.0);
            if !same {
                // Others learn from it than those that it was counted with.
                by.lock().land(sent);
            }
            same.then_some(sent)
        });
        let (bounds, spread) = (self.learned.settings.bounds, self.learned.random.unit());
        let pause = counted.lock().hear(now, sent, heard, bounds, spread);
        if heard.throttled && heard.allowances.is_global() {
            let until = counted.lock().free_at(1);
            self.learned.everywhere.fetch_max(until, Ordering::Relaxed);
        }
        pause
    }

    /// Counts with those of this bucket from now on.
    fn join(&self, bucket: &str, now: u64) -> Counted {
        let mut place = lock(&self.place);
        let key = OwnedKey(bucket.to_owned());
        // What was learned without a name is about the first bucket that has one.
        let own = || if place.named { Counted::default() } else { place.counted.clone() };
        if let Some(counted) = self.learned.buckets.get_or_insert(&key, |_| own(), || now) {
            *place = Place { counted, named: true };
        }
        place.counted.clone()
    }

    pub(crate) fn resume(&self) {
        self.learned.everywhere.store(0, Ordering::Relaxed);
        self.with(Window::resume);
    }

    fn counted(&self) -> Counted {
        lock(&self.place).counted.clone()
    }
}

impl Counted {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Window> {
        lock(&self.0)
    }
}

impl Evict for Counted {
    fn may_go(&self, now: u64) -> bool {
        // Whoever counts by it has a pointer of its own.
        Arc::strong_count(&self.0) == 1 && self.lock().is_new(now)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

use std::sync::{Arc, atomic::Ordering};

use palisade_core::{Observer, ObserverSlot};

use crate::{
    LimitAlgorithm, Sample, Wait,
    admit::{Admit, LineSettings},
    bucket::Short,
    clock::Clock,
    sync::{AtomicBool, AtomicUsize, Mutex, MutexGuard, lock},
};

/// What all limiters of a layer have in common.
#[derive(Clone, Debug)]
pub(crate) struct PlaceSettings<A> {
    pub(crate) algorithm: A,
    pub(crate) wait: Wait,
    pub(crate) observer: ObserverSlot,
    pub(crate) clock: Clock,
}

/// Places for requests in flight.
#[derive(Debug)]
pub(crate) struct Places<A> {
    // How many are taken, in units of `ONE`; and `LACKING`. In one word, so that who gives one back
    // and who lacks one agree on who came first.
    taken: AtomicUsize,
    limit: AtomicUsize,
    // Somebody set the limit: it is not what another one would begin with.
    set: AtomicBool,
    algorithm: Mutex<A>,
}

/// The first one in line found no place.
const LACKING: usize = 1;
const ONE: usize = 2;

impl<A: LimitAlgorithm> Places<A> {
    /// Takes a place. Says in the word that one is lacking, if there is none and
    /// it is to be said.
    #[inline]
    fn take_or(&self, lacking: usize) -> Result<(), Short> {
        let mut taken = self.taken.load(Ordering::Relaxed);
        loop {
            let free = taken / ONE < self.limit();
            if !free && lacking == 0 {
                return Err(Short::Unforeseen);
            }
            let next = if free { taken + ONE } else { taken | lacking };
            let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
            match self.taken.compare_exchange_weak(taken, next, success, failure) {
                Ok(_) if free => return Ok(()),
                Ok(_) => return Err(Short::Unforeseen),
                Err(now) => taken = now,
            }
        }
    }

    /// Gives a place back. Whether the first one in line has to be woken.
    pub(crate) fn give_back(&self) -> bool {
        let before = self.taken.fetch_sub(ONE, Ordering::AcqRel);
        // Who found the new limit reached has said so in this word: here it is seen as well.
        if before & LACKING == 0 || self.limit() < before / ONE {
            return false;
        }
        // Before it is woken: it says so anew if it has to.
        self.taken.fetch_and(!LACKING, Ordering::AcqRel);
        true
    }

    /// Learns of a request. Whether the limit has grown.
    pub(crate) fn record(&self, sample: &Sample) -> bool {
        self.adapt(|algorithm| algorithm.record(sample))
    }

    /// Goes on from another limit. Whether that has grown.
    pub(crate) fn set_limit(&self, limit: usize) -> bool {
        self.set.store(true, Ordering::Relaxed);
        self.adapt(|algorithm| algorithm.set_limit(limit))
    }

    fn adapt(&self, change: impl FnOnce(&mut A)) -> bool {
        // What the algorithm does is for it alone, and short, as its trait asks for: so it runs
        // under the lock.
        let mut algorithm = self.algorithm();
        change(&mut algorithm);
        let limit = algorithm.limit().min(usize::MAX / ONE);
        // Under the lock, so that the last one to change it is the last one to say so.
        self.limit.swap(limit, Ordering::AcqRel) < limit
    }

    fn algorithm(&self) -> MutexGuard<'_, A> {
        lock(&self.algorithm)
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.taken.load(Ordering::Relaxed) / ONE
    }

    pub(crate) fn was_set(&self) -> bool {
        self.set.load(Ordering::Relaxed)
    }
}

impl<A: LimitAlgorithm> Admit for Places<A> {
    type Settings = PlaceSettings<A>;

    const FORESEEN: bool = false;

    fn new(settings: &PlaceSettings<A>, _: Option<&str>) -> Self {
        let algorithm = settings.algorithm.clone();
        Self {
            taken: AtomicUsize::new(0),
            limit: AtomicUsize::new(algorithm.limit().min(usize::MAX / ONE)),
            set: AtomicBool::new(false),
            algorithm: Mutex::new(algorithm),
        }
    }

    #[inline]
    fn take(&self, _: u64, _: u32) -> Result<(), Short> {
        self.take_or(0)
    }

    fn take_late(&self, _: u64, _: u32) -> Result<(), Short> {
        // Written even if it is there: who gives a place back has to see what was seen here.
        self.take_or(LACKING)
    }

    fn short(&self, _: u64, _: u32) -> Short {
        Short::Unforeseen
    }

    fn gives_back(&self) -> bool {
        false
    }
}

impl<A> LineSettings for PlaceSettings<A> {
    fn wait(&self) -> Wait {
        self.wait
    }

    #[inline]
    fn observer(&self) -> Option<&Arc<dyn Observer>> {
        self.observer.get()
    }

    #[inline]
    fn clock(&self) -> Clock {
        self.clock
    }
}

#[cfg(all(test, palisade_shuttle))]
mod models;

//! What the services of one faulty layer share.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use http::HeaderValue;

use super::Fault;

#[derive(Default)]
pub(super) struct Shared {
    pub(super) kept: AtomicUsize,
    pub(super) busy: AtomicBool,
    lock: Mutex<()>,
    poisoned: AtomicBool,
    pub(super) last: Mutex<Option<HeaderValue>>,
}

impl Shared {
    /// Locks as one should not.
    pub(super) fn locked(&self, fault: Fault, locks: Fault) -> Option<MutexGuard<'_, ()>> {
        let lock = || self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        (fault == locks).then(lock)
    }

    /// Cannot be used any more once a panic has passed.
    pub(super) fn poisoned(&self, fault: Fault, poisons: Fault) -> Option<Poison<'_>> {
        assert!(!self.poisoned.load(Ordering::Relaxed), "poisoned");
        (fault == poisons).then_some(Poison(&self.poisoned))
    }
}

pub(super) struct Poison<'a>(&'a AtomicBool);

impl Drop for Poison<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

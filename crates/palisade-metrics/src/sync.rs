//! What threads share: std's, or that of shuttle where a model tries it in
//! other orders.

#[cfg(all(test, palisade_shuttle))]
pub(crate) use shuttle::sync::atomic::{AtomicUsize, Ordering};
#[cfg(not(all(test, palisade_shuttle)))]
pub(crate) use std::sync::atomic::{AtomicUsize, Ordering};

/// Where a model may let another thread go on: std's `OnceLock` does not tell.
#[inline]
pub(crate) fn step() {
    #[cfg(all(test, palisade_shuttle))]
    shuttle::thread::yield_now();
}

//! What threads share: std's, or that of loom or of shuttle where a model tries
//! it in other orders.

#[cfg(all(test, palisade_loom))]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, fence};
#[cfg(all(test, palisade_shuttle))]
pub(crate) use shuttle::sync::atomic::{AtomicU32, AtomicU64, fence};
#[cfg(not(all(test, any(palisade_loom, palisade_shuttle))))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, fence};

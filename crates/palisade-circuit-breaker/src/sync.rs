//! What threads share: std's, or that of loom or of shuttle where a model tries
//! it in other orders.

#[cfg(all(test, palisade_loom))]
pub(crate) use loom::sync::{
    RwLock,
    atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, fence},
};
#[cfg(all(test, palisade_shuttle))]
pub(crate) use shuttle::sync::{
    RwLock,
    atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, fence},
};
#[cfg(not(all(test, any(palisade_loom, palisade_shuttle))))]
pub(crate) use std::sync::{
    RwLock,
    atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, fence},
};

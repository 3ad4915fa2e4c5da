//! What threads share: std's, or that of shuttle where a model, of this crate or
//! of one that uses it, tries it in other orders.

#[cfg(palisade_shuttle)]
pub(crate) use shuttle::sync::{
    RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicBool, AtomicU64, AtomicUsize},
};
#[cfg(not(palisade_shuttle))]
pub(crate) use std::sync::{
    RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicBool, AtomicU64, AtomicUsize},
};

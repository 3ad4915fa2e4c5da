//! What threads share: std's, or that of loom where `cargo xtask loom` tries a model in every order.

#[cfg(all(test, palisade_loom))]
pub(crate) use loom::sync::{Arc, Mutex, MutexGuard};
#[cfg(not(all(test, palisade_loom)))]
pub(crate) use std::sync::{Arc, Mutex, MutexGuard};

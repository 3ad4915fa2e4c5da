//! Bounded maps of what palisade's layers keep for each key.
//!
//! A server that tells its clients apart by what they send lets each of them
//! make keys; so does a client that follows links. What is kept by key must
//! therefore be bounded, at a cost that does not grow with the number of keys.
//! The crate is for who writes a layer.
//!
//! ```
//! use std::sync::Arc;
//! use palisade_core::OwnedKey;
//! use palisade_keyed::{BoundedMap, Bounds, Evict};
//!
//! /// The requests of one host.
//! #[derive(Clone, Debug)]
//! struct Requests(Arc<()>);
//!
//! impl Evict for Requests {
//!     fn may_go(&self, _now: u64) -> bool {
//!         // Nobody but the map has it.
//!         Arc::strong_count(&self.0) == 1
//!     }
//! }
//!
//! let map = BoundedMap::new(Bounds { most: 2, idle: 60_000_000_000 });
//! let get = |key: &str| map.get_or_insert(&OwnedKey(key.to_owned()), |_| Requests(Arc::default()), || 0);
//! let (one, two) = (get("one"), get("two"));
//! assert!(get("three").is_none(), "both are in use");
//! drop(one);
//! assert!(get("three").is_some());
//! # drop(two);
//! ```

#![cfg_attr(palisade_docsrs, feature(doc_cfg))]

mod map;
mod sync;

pub use self::map::{BoundedMap, Bounds, Evict};

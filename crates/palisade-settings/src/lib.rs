//! What the settings of palisade's layers are made of.
//!
//! Layers re-export what of this their users need; the crate is for who writes a
//! layer.
//!
//! ```
//! use std::time::Duration;
//! use palisade_settings::{Backoff, Jitter, Schedule, Step};
//!
//! let backoff = Backoff::try_exponential(Duration::from_secs(5))?
//!     .max(Duration::from_secs(60))
//!     .jitter(Jitter::Equal);
//! let delay = backoff.delay(&Step::new(1, Duration::ZERO, 0.5));
//! assert_eq!(delay, Duration::from_millis(3750));
//!
//! assert!(Backoff::try_exponential(Duration::ZERO).is_err());
//! # Ok::<_, palisade_settings::InvalidSetting>(())
//! ```
//!
//! | for | items |
//! |---|---|
//! | how long to wait | [`Schedule`], [`Backoff`], [`schedule_fn`] |
//! | spreading | [`Jitter`], [`Random`] |
//! | values that make no sense | [`InvalidSetting`], [`literal`] |

#![cfg_attr(palisade_docsrs, feature(doc_cfg))]

mod backoff;
mod invalid;
mod random;

pub use self::{
    backoff::{Backoff, Chain, Jitter, Schedule, ScheduleFn, Step, schedule_fn},
    invalid::{InvalidSetting, literal},
    random::Random,
};

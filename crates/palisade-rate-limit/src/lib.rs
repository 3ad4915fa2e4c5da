//! Rate limits.
#![cfg_attr(palisade_docsrs, feature(doc_cfg))]
#![allow(dead_code, unreachable_pub, unused)]

mod bucket;
mod limits;
mod line;
mod quota;

pub use self::{limits::OverBurst, quota::Quota};

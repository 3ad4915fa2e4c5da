//! What a cache may do: RFC 9110, 9111, 5861, 8246, 9211 and 9213 as plain code.
//!
//! No clock, no I/O, no future: `now` is an argument.

pub(crate) mod admission;
pub(crate) mod age;
pub(crate) mod cache_status;
pub(crate) mod conditional;
pub(crate) mod date;
#[cfg(test)]
mod differential;
pub(crate) mod directives;
pub(crate) mod etag;
pub(crate) mod fields;
pub(crate) mod key;
pub(crate) mod list;
pub(crate) mod location;
pub(crate) mod lookup;
pub(crate) mod options;
pub(crate) mod partial;
pub(crate) mod policy;
pub(crate) mod range;
pub(crate) mod status;
#[cfg(test)]
mod suite;
pub(crate) mod update;
pub(crate) mod vary;

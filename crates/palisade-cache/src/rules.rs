//! What a cache may do: RFC 9110, 9111, 5861, 8246, 9211 and 9213 as plain code.
//!
//! No clock, no I/O, no future: `now` is an argument.

mod admission;
mod age;
mod cache_status;
mod conditional;
mod date;
#[cfg(test)]
mod differential;
mod directives;
mod etag;
mod fields;
mod key;
mod list;
mod location;
mod lookup;
mod options;
mod partial;
mod policy;
mod range;
mod status;
#[cfg(test)]
mod suite;
mod update;
mod vary;

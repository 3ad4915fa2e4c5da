//! What a cache may do: RFC 9110, 9111, 5861, 8246, 9211 and 9213 as plain code.
//!
//! No clock, no I/O, no future: `now` is an argument.

mod age;
mod date;
mod directives;
mod etag;
mod list;
mod range;
mod vary;

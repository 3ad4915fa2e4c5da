//! What a cache may do: RFC 9110, 9111, 5861, 8246, 9211 and 9213 as plain code.
//!
//! No clock, no I/O, no future: the time is an argument. This is how a layer uses it.
//!
//! | when | what |
//! |---|---|
//! | a request comes | [`lookup::Demand::of`]; [`conditional::is_for_the_origin`] goes past the cache |
//! | the key is made | [`key::same_target`] and [`key::hash_target`], [`query::QueryKeys::reduce`] by rule |
//! | a response is stored for the key | [`vary::Selector::matches`] for each variant, then [`lookup::Demand::look_up`] |
//! | it is used | [`answer::Answer::of`], [`fields::write_age`]; of a 304, [`fields::to_not_modified`] |
//! | it has to be validated | [`conditional::validate`], [`lookup::Demand::tell`] |
//! | a 304 comes | [`update::is_about`], [`update::freshen`], and [`admission::admit`] again |
//! | an error comes | [`status::is_failure`], [`lookup::Demand::in_place_of_error`] |
//! | another response comes | [`admission::admit`], [`fields::to_stored`] |
//! | a 206 comes | the same, and [`partial::Part::of`], [`partial::may_combine`], [`partial::Part::combine`] |
//! | an answer to HEAD comes | [`update::HeadEffect::of`] |
//! | an unsafe method is answered | [`location::invalidated`] |
//! | it is told what was done | [`cache_status::CacheStatus::value`] |
//!
//! [`policy::Policy`] and [`vary::Selector`] are kept beside what is stored, so that no lookup reads
//! a stored head again, or allocates.

pub(crate) mod admission;
pub(crate) mod age;
pub(crate) mod answer;
pub(crate) mod cache_status;
pub(crate) mod conditional;
#[cfg(test)]
mod cost;
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
pub(crate) mod query;
pub(crate) mod range;
pub(crate) mod status;
#[cfg(test)]
mod suite;
pub(crate) mod update;
pub(crate) mod vary;

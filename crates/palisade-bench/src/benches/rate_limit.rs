//! Every limiter lets a request each nanosecond pass where a call is to be permitted, and a given
//! number a second where calls wait.

pub(super) mod direct;
pub(super) mod feedback;
pub(super) mod keyed;
pub(super) mod line;

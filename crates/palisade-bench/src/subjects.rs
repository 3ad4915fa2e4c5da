//! What each peer needs to retry, set up as its documentation shows. palisade needs nothing.

pub(crate) mod reqwest_retry;
pub(crate) mod tower;
pub(crate) mod tower_resilience;

use http::Method;

/// RFC 9110, section 9.2.2: for the peers who leave it to their users to know.
fn is_idempotent(method: &Method) -> bool {
    method.is_safe() || matches!(*method, Method::PUT | Method::DELETE)
}

use http::{HeaderMap, HeaderValue, header::VARY};

/// Says that a response depends on more than its request shows, so that caches do not store it.
pub(crate) fn vary_by_more(headers: &mut HeaderMap) {
    // A map that is full does without: caches store none that is nearly full.
    let _ = headers.try_append(VARY, HeaderValue::from_static("*"));
}

//! Responses made of what is stored.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE},
};

use super::{body::CachedBody, entry::Variant, status::CacheStatus};
use crate::rules::{
    answer::Answer,
    cache_status::{self, Forward, Handled},
    fields,
    range::{self, Slice},
};

static CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// A response made of a stored one.
pub(crate) fn stored<B>(
    variant: &Variant,
    method: &Method,
    answer: Answer,
    age: u32,
    status: CacheStatus,
) -> Response<CachedBody<B>> {
    let stored = &variant.head;
    let mut headers = stored.headers.clone();
    fields::write_age(&mut headers, age);
    let (code, body) = match answer {
        Answer::Whole | Answer::Forward => (stored.status, variant.body.clone()),
        Answer::NotModified => {
            fields::to_not_modified(&mut headers);
            (StatusCode::NOT_MODIFIED, Bytes::new())
        }
        Answer::Part(slice) => (StatusCode::PARTIAL_CONTENT, part(variant, slice, &mut headers)),
        Answer::Unsatisfiable(length) => {
            headers.remove(CONTENT_TYPE);
            fields::set(&mut headers, CONTENT_RANGE, range::unsatisfied(length));
            fields::set(&mut headers, CONTENT_LENGTH, HeaderValue::from_static("0"));
            (StatusCode::RANGE_NOT_SATISFIABLE, Bytes::new())
        }
    };
    // RFC 9110, section 6.5: what comes after a body is about all of it.
    let whole = matches!(answer, Answer::Whole | Answer::Forward);
    let body = match (*method == Method::HEAD, whole && stored.trailers.is_some()) {
        (true, _) => CachedBody::full(Bytes::new(), status),
        (false, true) => CachedBody::trailed(body, Arc::clone(stored), status),
        (false, false) => CachedBody::full(body, status),
    };
    let mut response = Response::new(body);
    *response.status_mut() = code;
    *response.version_mut() = stored.version;
    *response.headers_mut() = headers;
    response
}

fn part(variant: &Variant, slice: Slice, headers: &mut HeaderMap) -> Bytes {
    let length = variant.body.len();
    let (start, content_range) = match &variant.head.part {
        Some(part) => (slice.first - part.held().first, part.content_range(slice)),
        None => (slice.first, slice.content_range(Some(length as u64))),
    };
    fields::set(headers, CONTENT_RANGE, content_range);
    fields::set(headers, CONTENT_LENGTH, HeaderValue::from(slice.len()));
    let at = |position: u64| usize::try_from(position).unwrap_or(usize::MAX).min(length);
    variant.body.slice(at(start)..at(start.saturating_add(slice.len())))
}

/// RFC 9111, section 5.2.1.7: nothing is stored, and the origin must not be asked. Not signed, as
/// RFC 9211, section 2, has it of responses that a cache makes itself.
pub(crate) fn unavailable<B>() -> Response<CachedBody<B>> {
    let mut response = Response::new(CachedBody::full(Bytes::new(), CacheStatus::Miss));
    *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    response
}

/// The origin says that something is still the same which it was not asked for.
pub(crate) fn confused<B>() -> Response<CachedBody<B>> {
    let mut response = Response::new(CachedBody::full(Bytes::new(), CacheStatus::Miss));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

/// Says what was done, RFC 9211, if the cache has a name.
pub(crate) fn sign(
    headers: &mut HeaderMap,
    name: Option<&str>,
    handled: Handled,
    ttl: Option<i64>,
    detail: Option<&'static str>,
) {
    if let Some(cache) = name {
        let status = cache_status::CacheStatus { cache, handled, ttl, detail };
        // A head that is full says nothing.
        let _ = headers.try_append(&CACHE_STATUS, status.value());
    }
}

/// How a request was handled that went to the origin.
pub(crate) fn forwarded(why: Forward, stored: bool, collapsed: bool) -> Handled {
    Handled::Forwarded { why, status: None, stored, collapsed }
}

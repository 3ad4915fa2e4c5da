//! What caches know of status codes.

use http::StatusCode;

/// RFC 9110, section 15.1: may be stored without a word on how long it lives.
pub(crate) fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// RFC 9111, section 5.2.2.3: known, with all that a cache has to know of it.
pub(crate) fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=206 | 300..=303 | 307 | 308 | 400..=417 | 421..=426 | 428 | 429 | 431 | 451
            | 500..=508 | 510 | 511
    )
}

/// Answers the conditions, the range or the credentials of one request; stored,
/// it would be the answer to others. A 304 is about a response that is stored.
pub(crate) fn is_about_the_request(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NOT_MODIFIED
            | StatusCode::PROXY_AUTHENTICATION_REQUIRED
            | StatusCode::PRECONDITION_FAILED
            | StatusCode::RANGE_NOT_SATISFIABLE
            | StatusCode::EXPECTATION_FAILED
    )
}

/// What a route's own lifetime is meant for: not failures, nor what sends away
/// for a moment.
pub(crate) fn is_lasting(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308)
}

/// RFC 5861, section 4: something stale may be better than this.
pub(crate) fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_stale_may_be_better_than_a_failure() {
        let failures = (100..1000).filter(|code| is_failure(StatusCode::from_u16(*code).unwrap()));
        assert_eq!(failures.collect::<Vec<_>>(), [500, 502, 503, 504]);
    }

    #[test]
    fn what_lasts_and_what_is_cacheable_is_understood() {
        for status in (100..1000).map(|code| StatusCode::from_u16(code).unwrap()) {
            assert!(!is_heuristically_cacheable(status) || is_understood(status), "{status}");
            assert!(!is_lasting(status) || is_heuristically_cacheable(status), "{status}");
        }
    }
}

use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};

/// Whether what follows the head of a response may go on for as long as it
/// likes, so that it is no part of how long the request took: an upgraded
/// connection (RFC 9110, section 7.8), a tunnel (section 9.3.6), if it was
/// asked for with CONNECT, or a stream of events.
///
/// ```
/// use http::{Response, header::CONTENT_TYPE};
/// use palisade_core::is_stream;
///
/// let events = Response::builder().header(CONTENT_TYPE, "text/event-stream").body(())?;
/// assert!(is_stream(&events, false));
/// assert!(is_stream(&Response::new(()), true));
/// assert!(!is_stream(&Response::new(()), false));
/// # Ok::<_, http::Error>(())
/// ```
pub fn is_stream<B>(response: &Response<B>, connect: bool) -> bool {
    let status = response.status();
    if status == StatusCode::SWITCHING_PROTOCOLS || connect && status.is_success() {
        return true;
    }
    let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| {
        let event_stream = b"text/event-stream";
        kind.get(..event_stream.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(event_stream))
    })
}

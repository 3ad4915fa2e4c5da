use http::{HeaderValue, Method, Response, StatusCode, header::CONTENT_TYPE};

/// Whether what follows the head of a response may go on for as long as it
/// likes, so that it is no part of how long the request took: an upgraded
/// connection (RFC 9110, section 7.8), a tunnel (section 9.3.6), or a stream of
/// events.
///
/// ```
/// use http::{Method, Response, header::CONTENT_TYPE};
/// use palisade_core::is_stream;
///
/// let events = Response::builder().header(CONTENT_TYPE, "text/event-stream").body(())?;
/// assert!(is_stream(&Method::GET, &events));
/// assert!(is_stream(&Method::CONNECT, &Response::new(())));
/// assert!(!is_stream(&Method::GET, &Response::new(())));
/// # Ok::<_, http::Error>(())
/// ```
pub fn is_stream<B>(method: &Method, response: &Response<B>) -> bool {
    let status = response.status();
    if status == StatusCode::SWITCHING_PROTOCOLS
        || *method == Method::CONNECT && status.is_success()
    {
        return true;
    }
    let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| {
        let event_stream = b"text/event-stream";
        kind.get(..event_stream.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(event_stream))
    })
}

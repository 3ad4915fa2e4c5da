use http::Extensions;

/// In the extensions of a response: it does not answer the request that was made, which
/// was done, but another one that this has led to, as a `POST` leads to a `GET` by 303
/// (RFC 9110, section 15.4.4).
///
/// Who follows redirects puts it there. So [`HttpClassify`](crate::HttpClassify) does not
/// take a 429 of the latter for a reason to make the first one again.
///
/// ```
/// use http::{Response, StatusCode};
/// use palisade_core::{Classify, HttpClassify, Outcome, Redirected};
///
/// fn judge(response: &Response<()>) -> Outcome {
///     HttpClassify::new().classify(Ok::<_, &std::io::Error>(response))
/// }
///
/// let mut response = Response::new(());
/// *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
/// assert_eq!(judge(&response), Outcome::Throttled);
///
/// response.extensions_mut().insert(Redirected);
/// assert_eq!(judge(&response), Outcome::Transient);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redirected;

impl Redirected {
    /// Whether it is in the extensions of a response.
    pub fn is(extensions: &Extensions) -> bool {
        extensions.get::<Self>().is_some()
    }
}

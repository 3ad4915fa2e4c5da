use http::HeaderValue;
use palisade_core::Head;

/// A fresh `Idempotency-Key`: a random UUID (version 4), unquoted, as most
/// APIs ask for.
///
/// ```
/// use palisade_retry::{RetryLayer, random_key};
/// use tower::Layer;
/// # let client = tower::service_fn(|_: http::Request<String>| async { Ok::<_, std::io::Error>(http::Response::new(String::new())) });
///
/// let client = RetryLayer::http().idempotency_key(random_key).layer(client);
/// # let _ = tower::ServiceExt::oneshot(client, http::Request::new(String::new()));
/// ```
#[expect(clippy::missing_panics_doc, reason = "a UUID is visible ASCII")]
pub fn random_key(_: Head<'_>) -> HeaderValue {
    let key = uuid::Uuid::new_v4().to_string();
    HeaderValue::try_from(key).expect("a UUID is visible ASCII")
}

use std::{fmt, sync::Arc};

use http::{HeaderName, Method, header::UPGRADE};
use palisade_core::{Head, Idempotent, is_idempotent};

/// Whether a request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Repeatable {
    /// Not at all. Such a request costs nothing but the question.
    Never,
    /// When it surely was not processed: no connection, a refused stream, 429.
    IfUnsent,
    /// After any failure that may pass.
    Always,
}

/// Decides which requests may be sent again.
///
/// [`ByMethod`] is the default; [`requests_fn`] turns a closure into one.
pub trait Requests {
    /// Whether this request may be sent again.
    fn repeatable(&self, head: Head<'_>) -> Repeatable;
}

impl<R: Requests + ?Sized> Requests for Arc<R> {
    fn repeatable(&self, head: Head<'_>) -> Repeatable {
        (**self).repeatable(head)
    }
}

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The rules of RFC 9110, section 9.2.2, and of the `Idempotency-Key` draft.
///
/// | request | may be sent again |
/// |---|---|
/// | `CONNECT`, `Upgrade` | never |
/// | idempotent method, or `Idempotency-Key`, or marked as [`Idempotent`] | always |
/// | others | if unsent |
#[derive(Clone, Copy, Debug, Default)]
pub struct ByMethod;

impl Requests for ByMethod {
    fn repeatable(&self, head: Head<'_>) -> Repeatable {
        if *head.method == Method::CONNECT || head.headers.contains_key(UPGRADE) {
            return Repeatable::Never;
        }
        if may_repeat(head) { Repeatable::Always } else { Repeatable::IfUnsent }
    }
}

/// By its method, first: most of what is posted has neither key nor mark.
fn may_repeat(head: Head<'_>) -> bool {
    is_idempotent(head.method)
        || head.headers.contains_key(IDEMPOTENCY_KEY)
        || Idempotent::is(head.extensions)
}

/// As [`ByMethod`], but what is not idempotent is never sent again, not even
/// when it surely was not processed.
///
/// A `POST` then costs nothing but the look at its method and headers: neither
/// its head nor its body is kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdempotentOnly;

impl Requests for IdempotentOnly {
    fn repeatable(&self, head: Head<'_>) -> Repeatable {
        if !may_repeat(head) {
            return Repeatable::Never;
        }
        ByMethod.repeatable(head)
    }
}

/// Decides with a closure which requests may be sent again.
///
/// ```
/// use palisade_retry::{ByMethod, Repeatable, Requests, RetryLayer, requests_fn};
/// use tower::Layer;
/// # let client = tower::service_fn(|_: http::Request<String>| async { Ok::<_, std::io::Error>(http::Response::new(String::new())) });
///
/// // This API's searches are reads, though they are posted.
/// let client = RetryLayer::http().requests(requests_fn(|head| {
///     if head.uri.path() == "/search" {
///         return Repeatable::Always;
///     }
///     ByMethod.repeatable(head)
/// })).layer(client);
/// # let _ = tower::ServiceExt::oneshot(client, http::Request::new(String::new()));
/// ```
pub fn requests_fn<F>(repeatable: F) -> RequestsFn<F>
where
    F: Fn(Head<'_>) -> Repeatable,
{
    RequestsFn(repeatable)
}

/// Made by [`requests_fn`].
#[derive(Clone, Copy)]
pub struct RequestsFn<F>(F);

impl<F> fmt::Debug for RequestsFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestsFn(..)")
    }
}

impl<F: Fn(Head<'_>) -> Repeatable> Requests for RequestsFn<F> {
    fn repeatable(&self, head: Head<'_>) -> Repeatable {
        (self.0)(head)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    #[test]
    fn goes_by_method_and_key() {
        for (method, header, by_method, idempotent_only) in [
            ("GET", None, Repeatable::Always, Repeatable::Always),
            ("DELETE", None, Repeatable::Always, Repeatable::Always),
            ("PROPFIND", None, Repeatable::Always, Repeatable::Always),
            ("POST", None, Repeatable::IfUnsent, Repeatable::Never),
            ("PATCH", None, Repeatable::IfUnsent, Repeatable::Never),
            ("POST", Some("idempotency-key"), Repeatable::Always, Repeatable::Always),
            ("GET", Some("upgrade"), Repeatable::Never, Repeatable::Never),
            ("CONNECT", None, Repeatable::Never, Repeatable::Never),
            ("CONNECT", Some("idempotency-key"), Repeatable::Never, Repeatable::Never),
        ] {
            let mut request = Request::new(());
            *request.method_mut() = method.parse().unwrap();
            if let Some(header) = header {
                request.headers_mut().insert(header, HeaderValue::from_static("x"));
            }
            let head = Head::of(&request);
            assert_eq!(ByMethod.repeatable(head), by_method, "{method} {header:?}");
            assert_eq!(IdempotentOnly.repeatable(head), idempotent_only, "{method} {header:?}");
        }
    }

    #[test]
    fn goes_by_what_the_maker_of_a_request_says() {
        for (method, expected) in [
            ("POST", Repeatable::Always),
            ("GET", Repeatable::Always),
            ("CONNECT", Repeatable::Never),
        ] {
            let mut request = Request::builder().method(method).body(()).unwrap();
            request.extensions_mut().insert(Idempotent);
            let head = Head::of(&request);
            assert_eq!(ByMethod.repeatable(head), expected, "{method}");
            assert_eq!(IdempotentOnly.repeatable(head), expected, "{method}");
        }
    }
}

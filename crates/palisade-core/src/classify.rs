use std::{marker::PhantomData, sync::Arc, time::Duration};

use http::{HeaderMap, Response, StatusCode, header::RETRY_AFTER};

use crate::{
    Classify, ErrorKind, ErrorRef, Outcome, Redirected, Refusal, RetryAfter, SystemClock, Typed,
    WallClock, kind::Finding,
};

/// The default verdict on HTTP responses and on the errors of HTTP clients.
///
/// | result | outcome |
/// |---|---|
/// | 429; 403 with `Retry-After`, `RateLimit-Remaining: 0` or `X-RateLimit-Remaining: 0` | `Throttled` |
/// | 408, 425, 500, 502, 503, 504 | `Transient` |
/// | other 5xx | `Failed` |
/// | other 4xx | `Rejected` |
/// | other statuses | `Success` |
/// | no connection, refused stream, GOAWAY, closed before sending | `Unsent` |
/// | reset, closed, unreachable, timeout, broken TLS | `Transient` |
/// | refused by a layer on this side, as an error or with a response | `Refused` |
/// | [another request](Redirected) throttled or refused, to which this one has led | `Transient` |
/// | the caller went away, or its request body broke off | `Ignored` |
/// | other errors, and those that say they are [permanent](crate::Fault::permanent) | `Failed` |
///
/// The parameter `M` says how the error type is looked into. It is inferred;
/// name it, [`Boxed`](crate::Boxed), only to spell a type out whose error is
/// [`BoxError`](crate::BoxError).
///
/// ```
/// use http::{Response, StatusCode};
/// use palisade_core::{Classify, HttpClassify, Outcome};
///
/// let classify = HttpClassify::new();
/// let response = Response::builder().status(StatusCode::BAD_GATEWAY).body(())?;
/// let result: Result<_, &std::io::Error> = Ok(&response);
/// assert_eq!(classify.classify(result), Outcome::Transient);
/// # Ok::<_, http::Error>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct HttpClassify<M = Typed> {
    // What differs from the table: as a rule nothing, which is small and cheap to clone.
    changes: Option<Arc<Changes>>,
    errors: PhantomData<fn() -> M>,
}

#[derive(Clone, Debug, Default)]
struct Changes {
    // `TRANSIENT`, if none.
    transient: Option<Vec<StatusCode>>,
    grpc: bool,
    status: Option<fn(StatusCode, &HeaderMap) -> Option<Outcome>>,
}

/// In order.
const TRANSIENT: [u16; 6] = [408, 425, 500, 502, 503, 504];

impl<M> HttpClassify<M> {
    /// The verdicts of the table above.
    pub fn new() -> Self {
        Self { changes: None, errors: PhantomData }
    }

    /// Sets the statuses whose outcome is [`Outcome::Transient`]. Defaults to
    /// 408, 425, 500, 502, 503 and 504.
    pub fn transient(self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.change(|changes| changes.transient = Some(statuses.into_iter().collect()))
    }

    /// Judges responses by a function first, and by the table where that says
    /// nothing. Errors are judged as ever. Defaults to none.
    ///
    /// ```
    /// use http::StatusCode;
    /// use palisade_core::{HttpClassify, Outcome, Typed};
    ///
    /// // What was just created may not be found everywhere yet.
    /// let classify = HttpClassify::<Typed>::new()
    ///     .status_fn(|status, _| (status == StatusCode::NOT_FOUND).then_some(Outcome::Transient));
    /// ```
    pub fn status_fn(self, judge: fn(StatusCode, &HeaderMap) -> Option<Outcome>) -> Self {
        self.change(|changes| changes.status = Some(judge))
    }

    /// Reads `grpc-status` too, in the head of a response and in its
    /// [`Trailers`], if these were read ahead. Off by default.
    ///
    /// The meaning of the codes is that of
    /// [gRPC](https://grpc.github.io/grpc/core/md_doc_statuscodes.html).
    pub fn grpc(self) -> Self {
        self.change(|changes| changes.grpc = true)
    }

    fn change(mut self, change: impl FnOnce(&mut Changes)) -> Self {
        change(Arc::make_mut(self.changes.get_or_insert_default()));
        self
    }

    #[inline]
    fn status<B>(&self, response: &Response<B>) -> Outcome {
        match &self.changes {
            Some(changes) => changes.status(response),
            // Most answers are below all that is told apart.
            None if response.status().as_u16() < 400 => Outcome::Success,
            None => failure(response, is_transient).unwrap_or(Outcome::Success),
        }
    }
}

impl Changes {
    fn status<B>(&self, response: &Response<B>) -> Outcome {
        let transient = |status| match &self.transient {
            None => is_transient(status),
            Some(statuses) => statuses.contains(&status),
        };
        let judged = self.status.and_then(|judge| judge(response.status(), response.headers()));
        match judged.or_else(|| failure(response, transient)) {
            Some(outcome) => outcome,
            None if self.grpc => grpc_outcome(response),
            None => Outcome::Success,
        }
    }
}

fn is_transient(status: StatusCode) -> bool {
    TRANSIENT.contains(&status.as_u16())
}

/// What a status says that is no success.
fn failure<B>(response: &Response<B>, transient: impl Fn(StatusCode) -> bool) -> Option<Outcome> {
    match verdict(response, transient)? {
        // It was processed, whatever became of what it led to.
        Outcome::Throttled | Outcome::Refused { .. } if Redirected::is(response.extensions()) => {
            Some(Outcome::Transient)
        }
        outcome => Some(outcome),
    }
}

fn verdict<B>(response: &Response<B>, transient: impl Fn(StatusCode) -> bool) -> Option<Outcome> {
    let status = response.status();
    if 400 <= status.as_u16()
        && let Some(refusal) = response.extensions().get()
    {
        return Some(refused(refusal));
    }
    match status.as_u16() {
        _ if transient(status) => Some(Outcome::Transient),
        429 => Some(Outcome::Throttled),
        // GitHub and others limit with 403.
        403 if is_throttled(response.headers()) => Some(Outcome::Throttled),
        400..=499 => Some(Outcome::Rejected),
        500.. => Some(Outcome::Failed),
        _ => None,
    }
}

impl<M> Default for HttpClassify<M> {
    fn default() -> Self {
        Self::new()
    }
}

// Whatever the marker is.
impl<M> Clone for HttpClassify<M> {
    fn clone(&self) -> Self {
        Self { changes: self.changes.clone(), errors: PhantomData }
    }
}

impl<M, B, E: ErrorRef<M>> Classify<Response<B>, E> for HttpClassify<M> {
    #[inline]
    fn classify(&self, result: Result<&Response<B>, &E>) -> Outcome {
        let error = match result {
            Ok(response) => return self.status(response),
            Err(error) => Finding::of(error.error_ref()),
        };
        if let Some(refusal) = error.refusal {
            return refused(&refusal);
        }
        match error.kind {
            ErrorKind::Cancelled | ErrorKind::Body => Outcome::Ignored,
            _ if error.permanent => Outcome::Failed,
            _ if error.unsent => Outcome::Unsent,
            ErrorKind::Timeout | ErrorKind::Closed | ErrorKind::Connect | ErrorKind::Tls => {
                Outcome::Transient
            }
            _ => Outcome::Failed,
        }
    }

    fn kind(&self, error: &E) -> ErrorKind {
        ErrorKind::of(error.error_ref())
    }

    /// What `Retry-After` says. A date without the response's own `Date` is
    /// taken relative to [`SystemClock`].
    fn retry_after(&self, response: &Response<B>) -> Option<Duration> {
        RetryAfter::delay_of(response.headers(), || SystemClock.now())
    }
}

/// The trailers of a response, in its extensions, when a layer has read the
/// body ahead.
///
/// ```
/// use http::{HeaderMap, HeaderValue, Response};
/// use palisade_core::{Classify, HttpClassify, Outcome, Trailers};
///
/// let mut trailers = HeaderMap::new();
/// trailers.insert("grpc-status", HeaderValue::from_static("14"));
/// let mut response = Response::new(());
/// response.extensions_mut().insert(Trailers(trailers));
///
/// let result: Result<_, &std::io::Error> = Ok(&response);
/// assert_eq!(HttpClassify::new().grpc().classify(result), Outcome::Transient);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Trailers(pub HeaderMap);

fn refused(refusal: &Refusal) -> Outcome {
    Outcome::Refused { kind: refusal.kind(), retry_after: refusal.retry_after() }
}

fn is_throttled(headers: &HeaderMap) -> bool {
    let names = ["ratelimit-remaining", "x-ratelimit-remaining"];
    let mut remaining = names.iter().filter_map(|name| headers.get(*name));
    headers.contains_key(RETRY_AFTER) || remaining.any(|remaining| remaining == "0")
}

fn grpc_outcome<B>(response: &Response<B>) -> Outcome {
    let trailers = response.extensions().get::<Trailers>();
    let status = response.headers().get("grpc-status");
    let status = status.or_else(|| trailers?.0.get("grpc-status"));
    let Some(status) = status else {
        return Outcome::Success;
    };
    match status.as_bytes() {
        b"0" => Outcome::Success,
        // CANCELLED
        b"1" => Outcome::Ignored,
        // DEADLINE_EXCEEDED, ABORTED, UNAVAILABLE
        b"4" | b"10" | b"14" => Outcome::Transient,
        // RESOURCE_EXHAUSTED
        b"8" => Outcome::Throttled,
        // UNKNOWN, UNIMPLEMENTED, INTERNAL, DATA_LOSS
        b"2" | b"12" | b"13" | b"15" => Outcome::Failed,
        _ => Outcome::Rejected,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use http::HeaderValue;

    use super::*;
    use crate::{BoxError, Fault};

    fn answer(status: u16, headers: &[(&'static str, &'static str)]) -> Outcome {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in headers {
            response.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        HttpClassify::new().grpc().classify(Ok::<_, &io::Error>(&response))
    }

    #[test]
    fn judges_statuses() {
        for (status, outcome) in [
            (200, Outcome::Success),
            (304, Outcome::Success),
            (400, Outcome::Rejected),
            (403, Outcome::Rejected),
            (408, Outcome::Transient),
            (425, Outcome::Transient),
            (429, Outcome::Throttled),
            (500, Outcome::Transient),
            (501, Outcome::Failed),
            (503, Outcome::Transient),
            (505, Outcome::Failed),
            (999, Outcome::Failed),
        ] {
            assert_eq!(answer(status, &[]), outcome, "{status}");
        }
    }

    #[test]
    fn a_403_that_names_a_limit_is_throttled() {
        assert_eq!(answer(403, &[("retry-after", "3")]), Outcome::Throttled);
        assert_eq!(answer(403, &[("x-ratelimit-remaining", "0")]), Outcome::Throttled);
        assert_eq!(answer(403, &[("x-ratelimit-remaining", "7")]), Outcome::Rejected);
    }

    #[test]
    fn a_refusal_with_a_response_is_no_answer_of_the_service() {
        let classify = HttpClassify::new();
        for (status, refused) in [(503, true), (429, true), (200, false)] {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            let delay = Duration::from_secs(3);
            response.extensions_mut().insert(Refusal::new(ErrorKind::Limited).after(delay));
            let outcome = classify.classify(Ok::<_, &io::Error>(&response));
            let expected = match refused {
                true => Outcome::Refused { kind: ErrorKind::Limited, retry_after: Some(delay) },
                false => Outcome::Success,
            };
            assert_eq!(outcome, expected, "{status}");
        }
    }

    #[test]
    fn what_a_request_has_led_to_says_nothing_of_it() {
        let refusal = Refusal::new(ErrorKind::Limited);
        for (status, refusal, outcome) in [
            (429, None, Outcome::Transient),
            (429, Some(refusal), Outcome::Transient),
            (503, None, Outcome::Transient),
            (404, None, Outcome::Rejected),
            (200, None, Outcome::Success),
        ] {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response.extensions_mut().insert(Redirected);
            refusal.map(|refusal| response.extensions_mut().insert(refusal));
            let judged = HttpClassify::new().classify(Ok::<_, &io::Error>(&response));
            assert_eq!(judged, outcome, "{status}");
        }
    }

    #[test]
    fn reads_the_grpc_status() {
        for (status, outcome) in [
            ("0", Outcome::Success),
            ("1", Outcome::Ignored),
            ("5", Outcome::Rejected),
            ("8", Outcome::Throttled),
            ("13", Outcome::Failed),
            ("14", Outcome::Transient),
            ("junk", Outcome::Rejected),
        ] {
            assert_eq!(answer(200, &[("grpc-status", status)]), outcome, "{status}");
        }
    }

    #[test]
    fn the_set_of_statuses_can_be_replaced() {
        let classify = HttpClassify::<Typed>::new().transient([StatusCode::LOCKED]);
        let mut response = Response::new(());
        for (status, outcome) in
            [(423, Outcome::Transient), (503, Outcome::Failed), (408, Outcome::Rejected)]
        {
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            assert_eq!(classify.classify(Ok::<_, &io::Error>(&response)), outcome, "{status}");
        }
    }

    #[test]
    fn a_function_is_asked_first() {
        let classify = HttpClassify::<Typed>::new().status_fn(|status, headers| {
            headers.contains_key("again").then_some(Outcome::Transient).filter(|_| status == 404)
        });
        let mut response = Response::new(());
        for (status, again, outcome) in [
            (404, false, Outcome::Rejected),
            (404, true, Outcome::Transient),
            (503, true, Outcome::Transient),
            (200, true, Outcome::Success),
        ] {
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response.headers_mut().clear();
            if again {
                response.headers_mut().insert("again", HeaderValue::from_static("1"));
            }
            assert_eq!(
                classify.classify(Ok::<_, &io::Error>(&response)),
                outcome,
                "{status} {again}"
            );
        }
    }

    #[test]
    fn reads_how_long_to_stay_away() {
        let hint = |response: &Response<()>| {
            Classify::<_, io::Error>::retry_after(&HttpClassify::new(), response)
        };
        let mut response = Response::new(());
        assert_eq!(hint(&response), None);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("3"));
        assert_eq!(hint(&response), Some(Duration::from_secs(3)));
    }

    #[test]
    fn judges_errors() {
        fn judge(error: impl Into<BoxError>) -> Outcome {
            let error: BoxError = error.into();
            HttpClassify::new().classify(Err::<&Response<()>, _>(&error))
        }
        use io::ErrorKind as Io;
        assert_eq!(judge(io::Error::from(Io::ConnectionRefused)), Outcome::Unsent);
        assert_eq!(judge(io::Error::from(Io::ConnectionReset)), Outcome::Transient);
        assert_eq!(judge(io::Error::from(Io::TimedOut)), Outcome::Transient);
        assert_eq!(judge("who knows"), Outcome::Failed);
        let fault = || Fault::new(ErrorKind::Connect, "no way").unsent();
        assert_eq!(judge(fault()), Outcome::Unsent);
        assert_eq!(judge(fault().permanent()), Outcome::Failed);
        let retry_after = Some(Duration::from_secs(2));
        let refusal = Refusal::new(ErrorKind::Open).after(Duration::from_secs(2));
        assert_eq!(judge(refusal), Outcome::Refused { kind: ErrorKind::Open, retry_after });
    }
}

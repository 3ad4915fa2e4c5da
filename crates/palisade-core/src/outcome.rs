use std::{fmt, sync::Arc, time::Duration};

use crate::ErrorKind;

/// The verdict on one result, shared by every layer.
///
/// | outcome | retry | circuit breaker | example |
/// |---|---|---|---|
/// | `Success` | no | success | 200, 304 |
/// | `Rejected` | no | success | 404, 422: the request is at fault |
/// | `Throttled` | any request | counts softly | 429 |
/// | `Transient` | idempotent requests | failure | 503, reset, timeout |
/// | `Failed` | no | failure | 501, a garbled answer |
/// | `Unsent` | any request | failure | connection refused, `REFUSED_STREAM` |
/// | `Refused` | any request, when it says how long to wait or a limiter refused | none | open breaker, full limiter |
/// | `Ignored` | no | none | cancelled by the caller |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It worked.
    Success,
    /// The service works, and says that the request is at fault.
    Rejected,
    /// The service asks for fewer requests, and did not process this one.
    Throttled,
    /// The service failed, and may work the next time.
    Transient,
    /// The service failed, and will fail the next time.
    Failed,
    /// The request surely was not processed by the service.
    Unsent,
    /// A layer on this side refused to send the request.
    Refused {
        /// Which kind of layer refused.
        kind: ErrorKind,
        /// How long until another try makes sense, if that is known.
        retry_after: Option<Duration>,
    },
    /// It says nothing about the service.
    Ignored,
}

/// Judges a result.
///
/// [`HttpClassify`](crate::HttpClassify) is the default of every layer;
/// [`classify_fn`] turns a closure into one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not judge results of type `Result<{Res}, {Err}>`",
    note = "`HttpClassify` judges errors that implement `Error`, and `HttpClassify<Boxed>` judges a `BoxError`"
)]
pub trait Classify<Res, Err> {
    /// The verdict on a response or an error.
    fn classify(&self, result: Result<&Res, &Err>) -> Outcome;

    /// What kind of error this is, for labels. Defaults to
    /// [`ErrorKind::Other`].
    fn kind(&self, error: &Err) -> ErrorKind {
        let _ = error;
        ErrorKind::Other
    }

    /// How long the service asks to be left alone, by this response. Defaults
    /// to not at all.
    fn retry_after(&self, response: &Res) -> Option<Duration> {
        let _ = response;
        None
    }
}

impl<Res, Err, C: Classify<Res, Err> + ?Sized> Classify<Res, Err> for Arc<C> {
    fn classify(&self, result: Result<&Res, &Err>) -> Outcome {
        (**self).classify(result)
    }

    fn kind(&self, error: &Err) -> ErrorKind {
        (**self).kind(error)
    }

    fn retry_after(&self, response: &Res) -> Option<Duration> {
        (**self).retry_after(response)
    }
}

/// Judges results with a closure.
///
/// ```
/// use http::{Response, StatusCode};
/// use palisade_core::{Classify, Outcome, classify_fn};
///
/// let classify = classify_fn(|result: Result<&Response<()>, &std::io::Error>| match result {
///     Ok(response) if response.status() == StatusCode::LOCKED => Outcome::Transient,
///     Ok(_) => Outcome::Success,
///     Err(_) => Outcome::Failed,
/// });
/// assert_eq!(classify.classify(Ok(&Response::new(()))), Outcome::Success);
/// ```
pub fn classify_fn<Res, Err, F>(classify: F) -> ClassifyFn<F>
where
    F: Fn(Result<&Res, &Err>) -> Outcome,
{
    ClassifyFn(classify)
}

/// Made by [`classify_fn`].
#[derive(Clone, Copy)]
pub struct ClassifyFn<F>(F);

impl<F> fmt::Debug for ClassifyFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClassifyFn(..)")
    }
}

impl<Res, Err, F> Classify<Res, Err> for ClassifyFn<F>
where
    F: Fn(Result<&Res, &Err>) -> Outcome,
{
    fn classify(&self, result: Result<&Res, &Err>) -> Outcome {
        self.0(result)
    }
}

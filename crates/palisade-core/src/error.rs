use std::{error::Error, fmt, io, sync::Arc, time::Duration};

use crate::{ErrorKind, kind::Finding};

/// The error of services that fail in more than one way, as in tower.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Walks an error and all that caused it, outermost first.
///
/// Follows [`Error::source`], and looks into an [`io::Error`] and into a shared
/// `Arc<dyn Error + Send + Sync>` as well: their `source` skips the error that
/// they hold, and that is where TLS and HTTP/2 hide theirs.
///
/// ```
/// use std::io;
/// use palisade_core::causes;
///
/// let inner = io::Error::new(io::ErrorKind::TimedOut, "too slow");
/// let outer = io::Error::other(inner);
/// assert_eq!(causes(&outer).count(), 3); // outer, inner, and the text inside
/// ```
pub fn causes<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        if let Some(shared) = error.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
            return Some(&**shared as _);
        }
        match error.downcast_ref().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as _),
            None => error.source(),
        }
    })
}

/// Finds a fact of type `T` in an error or in what caused it.
///
/// Callers look for a fact, not for a position in the stack, so that layers
/// may be reordered without breaking them.
///
/// ```
/// use palisade_core::{BoxError, Refusal, ErrorKind, find_cause};
///
/// let error: BoxError = Refusal::new(ErrorKind::Open).into();
/// assert!(find_cause::<Refusal>(&*error).is_some());
/// ```
pub fn find_cause<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    causes(error).find_map(<dyn Error>::downcast_ref)
}

/// How a service's error type is looked into.
///
/// Implemented for every type that implements [`Error`], with the marker
/// [`Typed`], and for [`BoxError`], which does not implement it, with the
/// marker [`Boxed`]. Who writes a service never names the marker: it is
/// inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no error that can be looked into",
    note = "implement `std::error::Error` for it, or box it: `.map_err(palisade_core::BoxError::from)`"
)]
pub trait ErrorRef<M> {
    /// The error as a trait object.
    fn error_ref(&self) -> &(dyn Error + 'static);
}

/// Marks services whose error type implements [`Error`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Typed {}

/// Marks services whose error type is [`BoxError`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Boxed {}

impl<E: Error + 'static> ErrorRef<Typed> for E {
    fn error_ref(&self) -> &(dyn Error + 'static) {
        self
    }
}

impl ErrorRef<Boxed> for BoxError {
    fn error_ref(&self) -> &(dyn Error + 'static) {
        &**self
    }
}

/// A request that was refused on this side and never sent.
///
/// A layer that refuses (an open breaker, an empty bucket) returns an error of
/// its own with a `Refusal` as its source. Other layers find it with
/// [`find_cause`], and so learn what they need without knowing each other. One that
/// answers with a response puts it into the extensions of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Refusal {
    kind: ErrorKind,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal of the given kind.
    pub fn new(kind: ErrorKind) -> Self {
        Self { kind, retry_after: None }
    }

    /// Says when another try makes sense. Defaults to not known.
    pub fn after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Which kind of layer refused.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// How long until another try makes sense, if that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("request was refused before it was sent")
    }
}

impl Error for Refusal {}

/// A failure of which more is known than its cause says.
///
/// For who makes requests fail: a transport that knows whether a request left,
/// a layer that knows that it was answered. What a fault says counts, and not
/// what its cause would.
///
/// ```
/// use palisade_core::{ErrorKind, Fault, is_unsent};
///
/// let fault = Fault::new(ErrorKind::Closed, "the pool is shut").unsent();
/// assert!(is_unsent(&fault));
/// ```
#[derive(Debug)]
#[must_use]
pub struct Fault {
    pub(crate) kind: ErrorKind,
    pub(crate) unsent: bool,
    pub(crate) permanent: bool,
    cause: BoxError,
}

impl Fault {
    /// A failure of the given kind. The request may have been processed.
    pub fn new(kind: ErrorKind, cause: impl Into<BoxError>) -> Self {
        Self { kind, unsent: false, permanent: false, cause: cause.into() }
    }

    /// The same failure, of a request that was processed: by what has led to it, say.
    ///
    /// ```
    /// use palisade_core::{ErrorKind, Fault, is_unsent};
    ///
    /// let fault = Fault::new(ErrorKind::Connect, "no way").unsent();
    /// let processed = Fault::processed(fault);
    /// assert_eq!(ErrorKind::of(&processed), ErrorKind::Connect);
    /// assert!(!is_unsent(&processed));
    /// ```
    pub fn processed(cause: impl Into<BoxError>) -> Self {
        let cause = cause.into();
        let Finding { kind, permanent, .. } = Finding::of(&*cause);
        Self { kind, unsent: false, permanent, cause }
    }

    /// Says that the request surely was not processed.
    pub fn unsent(mut self) -> Self {
        self.unsent = true;
        self
    }

    /// Says that another attempt would fail in the same way, until somebody has changed what
    /// is set, here or there. So none is made, although the request may be
    /// [unsent](Self::unsent).
    ///
    /// ```
    /// use http::Response;
    /// use palisade_core::{Classify, ErrorKind, Fault, HttpClassify, Outcome};
    ///
    /// let fault = Fault::new(ErrorKind::Tls, "nobody trusts the certificate").unsent().permanent();
    /// let result: Result<&Response<()>, _> = Err(&fault);
    /// assert_eq!(HttpClassify::new().classify(result), Outcome::Failed);
    /// ```
    pub fn permanent(mut self) -> Self {
        self.permanent = true;
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failure", self.kind)
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_fact_behind_an_io_error() {
        let refusal = Refusal::new(ErrorKind::Limited).after(Duration::from_secs(3));
        let error = io::Error::other(io::Error::other(refusal));
        assert_eq!(find_cause::<Refusal>(&error), Some(&refusal));
        assert!(find_cause::<fmt::Error>(&error).is_none());
    }

    #[test]
    fn finds_a_fact_behind_a_shared_error() {
        let refusal = Refusal::new(ErrorKind::Limited);
        let shared: Arc<dyn Error + Send + Sync> = Arc::new(refusal);
        let error = io::Error::other(Arc::clone(&shared));
        assert_eq!(find_cause::<Refusal>(&error), Some(&refusal));
    }

    #[test]
    fn both_kinds_of_error_type_are_looked_into() {
        fn text<M>(error: &impl ErrorRef<M>) -> String {
            error.error_ref().to_string()
        }
        let boxed: BoxError = "boxed".into();
        assert_eq!(text(&boxed), "boxed");
        assert_eq!(text(&io::Error::other("typed")), "typed");
    }
}

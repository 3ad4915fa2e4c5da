use std::{error::Error, fmt};

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// Why a [`ReplayBody`](crate::ReplayBody) could not be read to its end.
///
/// The type has no parameter, so that a layer finds it among the causes of an error without knowing
/// the body: `error.downcast_ref::<ReplayError>()`.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReplayError {
    /// The body itself failed; its error is the [`source`](Error::source).
    Body(Box<dyn Error + Send + Sync>),
    /// A later attempt took the body over, and this one must not send any more of it.
    Superseded,
    /// The body had failed before: it panicked, or is read again after its error.
    Failed,
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Body(_) => "request body failed",
            Self::Superseded => "request body was taken over by a later attempt",
            Self::Failed => "request body had failed before",
        })
    }
}

impl Error for ReplayError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Body(error) => Some(&**error),
            Self::Superseded | Self::Failed => None,
        }
    }
}

/// Why a body cannot be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotReplayable {
    /// The body is longer than the cap, so it is no longer recorded.
    TooLarge,
    /// The body itself failed or panicked, so there is no whole body to send.
    Failed,
}

impl fmt::Display for NotReplayable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "request body is too large to be sent again",
            Self::Failed => "request body failed and cannot be sent again",
        })
    }
}

impl Error for NotReplayable {}

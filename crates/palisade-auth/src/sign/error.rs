use std::{error::Error, fmt};

use palisade_core::{BoxError, ErrorKind, Refusal};

/// A body cannot be signed, so the request was not sent.
///
/// It is the source of an [`AuthError`](crate::AuthError).
#[derive(Debug)]
pub struct Unsignable {
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    // Tells layers outside that the request was not sent.
    Streams(Refusal),
    Broken(BoxError),
}

impl Unsignable {
    pub(super) fn streaming() -> Self {
        Self { cause: Cause::Streams(Refusal::new(ErrorKind::Auth)) }
    }

    pub(super) fn broken(error: BoxError) -> Self {
        Self { cause: Cause::Broken(error) }
    }

    /// Whether the body streams, or is longer than what is read of bodies. If not, it
    /// has failed.
    pub fn is_streaming(&self) -> bool {
        matches!(self.cause, Cause::Streams(_))
    }
}

impl fmt::Display for Unsignable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.cause {
            Cause::Streams(_) => {
                "the body streams or is too long: collect it, or allow unsigned bodies"
            }
            Cause::Broken(_) => "the body failed while it was read",
        })
    }
}

impl Error for Unsignable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            Cause::Streams(refusal) => Some(refusal),
            Cause::Broken(error) => Some(&**error),
        }
    }
}

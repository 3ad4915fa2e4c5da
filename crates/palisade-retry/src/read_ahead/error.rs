use std::{error::Error, fmt};

use palisade_core::{BoxError, ErrorKind, Fault};

/// The body of a response broke off while it was read ahead.
///
/// The request was answered, so it counts as processed, whatever the cause.
#[derive(Debug)]
pub struct BodyLost {
    fault: Fault,
}

impl BodyLost {
    pub(super) fn new(error: impl Into<BoxError>) -> Self {
        let error = error.into();
        let kind = match ErrorKind::of(&*error) {
            // A failure that nobody knows is taken for a connection that closed,
            // and so are bytes that make no body: the head did make sense.
            ErrorKind::Other | ErrorKind::Protocol => ErrorKind::Closed,
            kind => kind,
        };
        Self { fault: Fault::new(kind, error) }
    }
}

impl fmt::Display for BodyLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("body of the response broke off")
    }
}

impl Error for BodyLost {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.fault)
    }
}

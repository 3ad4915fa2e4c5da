use std::{error::Error, fmt, sync::Arc};

use palisade_core::BoxError;

/// The body of a response that was fetched for several requests broke off.
///
/// What it failed with is the [`source`](Error::source), which those who read
/// it share. Who reads alone gets that error itself.
#[derive(Clone, Debug)]
pub struct FillError {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Failed(Arc<dyn Error + Send + Sync>),
    Truncated,
    Lagged,
    Panicked,
}

impl FillError {
    pub(crate) fn failed(error: BoxError) -> Self {
        Self { kind: Kind::Failed(Arc::from(error)) }
    }

    pub(crate) fn truncated() -> Self {
        Self { kind: Kind::Truncated }
    }

    pub(crate) fn lagged() -> Self {
        Self { kind: Kind::Lagged }
    }

    pub(crate) fn panicked() -> Self {
        Self { kind: Kind::Panicked }
    }

    /// Whether this reader was too slow: the others were so far ahead that what
    /// they had read could not be kept.
    pub fn is_lagged(&self) -> bool {
        matches!(self.kind, Kind::Lagged)
    }
}

impl fmt::Display for FillError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Failed(_) => "the body fetched for several requests broke off",
            Kind::Truncated => "the body is shorter than its Content-Length",
            Kind::Lagged => "the body was read too slowly",
            Kind::Panicked => "the body fetched for several requests panicked",
        })
    }
}

impl Error for FillError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            Kind::Failed(error) => Some(&**error),
            _ => None,
        }
    }
}

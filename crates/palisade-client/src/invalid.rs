use std::{borrow::Cow, error::Error, fmt};

use palisade_core::BoxError;

/// Why a request cannot be made, and what to do about it.
pub(crate) struct Invalid {
    text: Cow<'static, str>,
    cause: Option<BoxError>,
}

impl Invalid {
    pub(crate) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), cause: None }
    }

    pub(crate) fn because(text: impl Into<Cow<'static, str>>, cause: impl Into<BoxError>) -> Self {
        Self { text: text.into(), cause: Some(cause.into()) }
    }

    pub(crate) fn cause(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            Some(cause) => Some(&**cause),
            None => None,
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

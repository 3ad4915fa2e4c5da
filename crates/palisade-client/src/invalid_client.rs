use std::{error::Error, fmt};

use palisade_core::BoxError;

use crate::invalid::Invalid;

/// Why there is no client: what was given to its builder does not make sense.
#[derive(Debug)]
pub struct InvalidClient {
    what: What,
    cause: Option<BoxError>,
}

#[derive(Debug)]
enum What {
    Base(String, Invalid),
    Header(String),
    Proxy(String),
    Variable(&'static str),
    Time(&'static str),
    #[cfg(feature = "tls")]
    Certificate,
}

impl InvalidClient {
    pub(crate) fn base(url: &str, reason: Invalid) -> Self {
        Self { what: What::Base(shown(url), reason), cause: None }
    }

    pub(crate) fn header(name: &str, cause: impl Into<BoxError>) -> Self {
        Self { what: What::Header(name.to_owned()), cause: Some(cause.into()) }
    }

    pub(crate) fn proxy(uri: &str) -> Self {
        Self { what: What::Proxy(shown(uri)), cause: None }
    }

    /// Of a variable of the environment.
    pub(crate) fn variable(name: &'static str) -> Self {
        Self { what: What::Variable(name), cause: None }
    }

    /// Of a setting that leaves no time at all.
    pub(crate) fn time(name: &'static str) -> Self {
        Self { what: What::Time(name), cause: None }
    }

    #[cfg(feature = "tls")]
    pub(crate) fn certificate(cause: impl Into<BoxError>) -> Self {
        Self { what: What::Certificate, cause: Some(cause.into()) }
    }
}

/// What may be told of a URL: there may be a password in it, or a key in its query.
fn shown(url: &str) -> String {
    let shown = if url.contains('@') { "what was given" } else { url };
    shown.split(['?', '#']).next().unwrap_or_default().to_owned()
}

impl fmt::Display for InvalidClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Base(url, reason) => write!(f, "`{url}` is no base URL: {reason}"),
            What::Header(name) => write!(f, "`{name}` cannot be a field of all requests"),
            What::Proxy(uri) => {
                write!(f, "`{uri}` is no proxy: name it as in `http://proxy.example:3128`")
            }
            What::Variable(name) => write!(
                f,
                "the environment's `{name}` is no proxy: name it as in `http://proxy.example:3128`, or call `no_proxy`"
            ),
            What::Time(name) => {
                write!(f, "a `{name}` of zero lets nothing succeed: `None` is for no limit")
            }
            #[cfg(feature = "tls")]
            What::Certificate => f.write_str("a certificate that should be trusted cannot be read"),
        }
    }
}

impl Error for InvalidClient {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.what {
            What::Base(_, reason) => reason.cause(),
            _ => self.cause.as_ref().map(|cause| &**cause as &(dyn Error + 'static)),
        }
    }
}

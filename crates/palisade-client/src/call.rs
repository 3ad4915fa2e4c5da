use std::fmt;

use http::{Method, Request, Uri};
use palisade_core::Endpoint;

/// What is remembered of a request, so that its errors can name it.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) endpoint: Option<&'static Endpoint>,
    // Without authority, if there could be none.
    pub(crate) uri: Uri,
}

impl Call {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        Self {
            method: request.method().clone(),
            endpoint: Endpoint::of(request.extensions()),
            uri: request.uri().clone(),
        }
    }
}

/// Method and template, or method and origin: paths and queries hold secrets.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.method)?;
        if let Some(endpoint) = self.endpoint {
            return write!(f, " {}", endpoint.template());
        }
        match self.uri.authority() {
            Some(_) => write!(f, " {}", origin(&self.uri)),
            None => Ok(()),
        }
    }
}

/// Scheme, host and port: what may be told of a URL.
pub(crate) fn origin(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or_default();
    let host = uri.host().unwrap_or_default();
    match uri.port() {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    }
}

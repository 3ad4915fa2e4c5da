use std::fmt;

use http::{Method, Uri};
use palisade_core::Endpoint;

/// What is remembered of a request, so that its errors can name it.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) endpoint: Option<&'static Endpoint>,
    // Without authority, if there could be none.
    pub(crate) uri: Uri,
}

/// Method and template, or method and origin: paths and queries hold secrets.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.method)?;
        if let Some(endpoint) = self.endpoint {
            return write!(f, " {}", endpoint.template());
        }
        let host = self.uri.host().unwrap_or_default();
        match (self.uri.scheme_str(), self.uri.port()) {
            (Some(scheme), Some(port)) => write!(f, " {scheme}://{host}:{port}"),
            (Some(scheme), None) => write!(f, " {scheme}://{host}"),
            (None, _) => Ok(()),
        }
    }
}

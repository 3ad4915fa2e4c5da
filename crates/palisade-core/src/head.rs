use std::fmt;

use http::{Extensions, HeaderMap, Method, Request, Uri, header::HOST};

use crate::Endpoint;

/// A borrowed look at a request without its body: what keys, predicates and
/// labels are made from.
///
/// ```
/// use http::Request;
/// use palisade_core::Head;
///
/// let request = Request::get("https://api.example:8443/users").body(())?;
/// assert_eq!(Head::of(&request).authority(), Some("api.example:8443"));
/// # Ok::<_, http::Error>(())
/// ```
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Head<'r> {
    /// The method.
    pub method: &'r Method,
    /// The request target.
    pub uri: &'r Uri,
    /// The header fields.
    pub headers: &'r HeaderMap,
    /// The extensions.
    pub extensions: &'r Extensions,
}

impl<'r> Head<'r> {
    /// The head of a request.
    pub fn of<B>(request: &'r Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }

    /// Host and port as they are written: those of the request target, or else
    /// of the `Host` field, as it is on servers (RFC 9110, section 7.2). User
    /// names and passwords are left out.
    pub fn authority(self) -> Option<&'r str> {
        let authority = match self.uri.authority() {
            Some(authority) => authority.as_str(),
            None => self.headers.get(HOST)?.to_str().ok()?,
        };
        Some(host_and_port(authority))
    }

    /// The endpoint in the extensions.
    pub fn endpoint(self) -> Option<&'static Endpoint> {
        Endpoint::of(self.extensions)
    }
}

/// An authority without its userinfo, which may hold a password, and without
/// an empty port, which says nothing (RFC 3986, section 3.2.3).
pub(crate) fn host_and_port(authority: &str) -> &str {
    // Byte by byte: authorities are short, and most have none.
    let at = authority.bytes().rposition(|byte| byte == b'@');
    let host = at.map_or(authority, |at| &authority[at + 1..]);
    host.strip_suffix(':').unwrap_or(host)
}

/// Header values, paths and extensions may be secret: they are left out.
impl fmt::Debug for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head")
            .field("method", self.method)
            .field("endpoint", &self.endpoint())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_host_and_port() {
        for (authority, expected) in [
            ("a.example:8443", "a.example:8443"),
            ("user:secret@a.example", "a.example"),
            ("a@b@a.example:1", "a.example:1"),
            ("a.example:", "a.example"),
            ("[::1]:80", "[::1]:80"),
            ("[::1]", "[::1]"),
            ("", ""),
        ] {
            assert_eq!(host_and_port(authority), expected);
        }
    }
}

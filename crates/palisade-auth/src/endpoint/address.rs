use std::{error::Error, fmt};

use http::Uri;

use crate::gate::is_loopback;

/// Reads the address of an endpoint. Secrets go there, so it has to be
/// `https`, unless they stay on this machine.
pub(crate) fn parse(text: &str) -> Result<Uri, InvalidEndpoint> {
    let uri: Uri = text.parse().map_err(|_| InvalidEndpoint(Reason::NoUri))?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(InvalidEndpoint(Reason::Incomplete));
    };
    if authority.as_str().contains('@') {
        return Err(InvalidEndpoint(Reason::UserInfo));
    }
    // RFC 6749, section 3.2. What parses a URI drops it.
    if text.contains('#') {
        return Err(InvalidEndpoint(Reason::Fragment));
    }
    match scheme {
        "https" => Ok(uri),
        "http" if is_loopback(authority.host()) => Ok(uri),
        _ => Err(InvalidEndpoint(Reason::Scheme)),
    }
}

/// An address that no endpoint can have. It is not shown, as it may hold a
/// password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidEndpoint(Reason);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    NoUri,
    Incomplete,
    UserInfo,
    Fragment,
    Scheme,
}

impl fmt::Display for InvalidEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the address of the endpoint ")?;
        f.write_str(match self.0 {
            Reason::NoUri => "is no URI",
            Reason::Incomplete => "needs scheme and host, as in `https://as.example/token`",
            Reason::UserInfo => "must not have a user or password before the `@`",
            Reason::Fragment => "must not have a `#`",
            Reason::Scheme => "must start with `https://`: plain http is for loopback alone",
        })
    }
}

impl Error for InvalidEndpoint {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_leave_the_machine_encrypted() {
        for (text, reason) in [
            ("https://as.example/token", None),
            ("https://as.example:8443/token?tenant=1", None),
            ("HTTPS://as.example", None),
            ("http://localhost/token", None),
            ("http://LOCALHOST:8080", None),
            ("http://127.0.0.1:1/token", None),
            ("http://127.9.9.9/token", None),
            ("http://[::1]:8080/token", None),
            ("http://as.example/token", Some(Reason::Scheme)),
            ("http://localhost.example/token", Some(Reason::Scheme)),
            ("http://127.0.0.1.example/token", Some(Reason::Scheme)),
            ("http://10.0.0.1/token", Some(Reason::Scheme)),
            ("http://0.0.0.0/token", Some(Reason::Scheme)),
            ("ftp://localhost/token", Some(Reason::Scheme)),
            ("https://id:secret@as.example/token", Some(Reason::UserInfo)),
            ("http://localhost@as.example/token", Some(Reason::UserInfo)),
            ("https://as.example/token#x", Some(Reason::Fragment)),
            ("/token", Some(Reason::Incomplete)),
            ("as.example:443", Some(Reason::Incomplete)),
            ("", Some(Reason::NoUri)),
            ("https://as example", Some(Reason::NoUri)),
        ] {
            assert_eq!(parse(text).err(), reason.map(InvalidEndpoint), "{text}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let invalid = parse("https://id:canary@as.example/token").unwrap_err();
        assert!(!format!("{invalid:?} {invalid}").contains("canary"));
    }
}

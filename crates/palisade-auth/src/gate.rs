//! Which requests get credentials.

use std::net::IpAddr;

use http::{Request, Uri, uri::Scheme};
use palisade_core::Origins;

use crate::{AuthBypass, AuthError, Authenticator, Recovery};

/// Where credentials may go.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    pub(crate) origins: Origins,
    pub(crate) outside_fails: bool,
    pub(crate) plain_http: bool,
    pub(crate) replaces: bool,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It gets credentials.
    Through,
    /// It is sent as it is.
    Around,
    /// It is not sent.
    Outside,
    Insecure,
}

impl Gate {
    pub(crate) fn new(origins: Origins) -> Self {
        Self { origins, outside_fails: false, plain_http: false, replaces: false }
    }

    #[inline]
    pub(crate) fn way<B>(&self, authenticator: &impl Authenticator, request: &Request<B>) -> Way {
        if request.extensions().get::<AuthBypass>().is_some() {
            return Way::Around;
        }
        if !self.origins.contains(request.uri()) {
            return if self.outside_fails { Way::Outside } else { Way::Around };
        }
        if !self.replaces && authenticator.has_own(request) {
            return Way::Around;
        }
        match self.plain_http || !is_plain(request.uri()) {
            true => Way::Through,
            false => Way::Insecure,
        }
    }
}

impl Way {
    /// In snake case, and as an error.
    pub(crate) fn refusal(self) -> Option<(&'static str, AuthError)> {
        let (reason, what) = match self {
            Self::Through | Self::Around => return None,
            Self::Outside => ("outside", "the request goes to an origin that gets no credentials"),
            Self::Insecure => ("insecure", "credentials are not sent over plain http: use https"),
        };
        Some((reason, AuthError::new(what, Recovery::FixRequest)))
    }
}

/// Whether others could read along.
#[inline]
fn is_plain(uri: &Uri) -> bool {
    uri.scheme() != Some(&Scheme::HTTPS) && is_http_beyond(uri)
}

#[cold]
fn is_http_beyond(uri: &Uri) -> bool {
    // A target without a scheme gets one further on, where that is known.
    let plain = |scheme: &str| ["http", "ws"].iter().any(|it| scheme.eq_ignore_ascii_case(it));
    uri.scheme_str().is_some_and(plain) && !uri.host().is_some_and(is_loopback)
}

/// Whether a host is this machine, whatever a resolver says.
pub(crate) fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match address.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header::AUTHORIZATION};

    use super::*;
    use crate::Bearer;

    fn way(gate: &Gate, uri: &str, change: impl FnOnce(&mut Request<()>)) -> Way {
        let mut request = Request::get(uri).body(()).unwrap();
        change(&mut request);
        gate.way(&Bearer::new("abc").unwrap(), &request)
    }

    #[test]
    fn credentials_go_to_the_origins_alone() {
        let gate = Gate::new(Origins::new(["https://api.example"]));
        let strict = Gate { outside_fails: true, ..gate.clone() };
        for (uri, inside) in [
            ("https://api.example/users", true),
            ("https://API.example:443/", true),
            ("https://api.example:8443/", false),
            ("http://api.example/", false),
            ("https://api.example@evil.example/", false),
            ("https://api.example./", false),
            ("https://xn--pi-api.example/", false),
            ("https://[::1]/", false),
            ("/users", false),
        ] {
            let (expected, strictly) = match inside {
                true => (Way::Through, Way::Through),
                false => (Way::Around, Way::Outside),
            };
            assert_eq!(way(&gate, uri, |_| {}), expected, "{uri}");
            assert_eq!(way(&strict, uri, |_| {}), strictly, "{uri}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback() {
        let gate = Gate::new(Origins::any());
        let trusting = Gate { plain_http: true, ..gate.clone() };
        for (uri, expected) in [
            ("http://api.example/", Way::Insecure),
            ("HTTP://api.example/", Way::Insecure),
            ("ws://api.example/", Way::Insecure),
            ("http://localhost.evil.example/", Way::Insecure),
            ("http://10.0.0.1/", Way::Insecure),
            ("http://127.0.0.1.evil.example/", Way::Insecure),
            ("http://localhost:8080/", Way::Through),
            ("http://LOCALHOST/", Way::Through),
            ("http://127.1.2.3/", Way::Through),
            ("http://[::1]:8080/", Way::Through),
            ("https://api.example/", Way::Through),
            ("wss://api.example/", Way::Through),
            ("/users", Way::Through),
        ] {
            assert_eq!(way(&gate, uri, |_| {}), expected, "{uri}");
            assert_eq!(way(&trusting, uri, |_| {}), Way::Through, "{uri}");
        }
    }

    #[test]
    fn what_the_caller_says_stands() {
        let gate = Gate::new(Origins::any());
        let uri = "https://api.example/";
        let own = |request: &mut Request<()>| {
            request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_static("Own x"));
        };
        assert_eq!(way(&gate, uri, own), Way::Around);
        assert_eq!(way(&Gate { replaces: true, ..gate.clone() }, uri, own), Way::Through);
        let bypass = |request: &mut Request<()>| {
            request.extensions_mut().insert(AuthBypass);
        };
        assert_eq!(way(&gate, uri, bypass), Way::Around);
        assert_eq!(way(&Gate { outside_fails: true, ..gate }, "/", bypass), Way::Around);
    }
}

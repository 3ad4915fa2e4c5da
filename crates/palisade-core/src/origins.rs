use std::{error::Error, fmt};

use http::{
    Uri,
    uri::{Authority, Scheme},
};

/// A set of origins: those that may be told something, such as credentials or
/// the id of a trace.
///
/// An origin is a scheme, a host and a port (RFC 6454, section 4; RFC 9110,
/// section 4.3.1). Scheme and host are compared without regard to case, and a
/// port that is not named is that of `http` or `https`. Nothing else is equal:
/// not a subdomain, not an address that the host stands for.
///
/// ```
/// use palisade_core::Origins;
///
/// let ours = Origins::new(["https://api.example", "http://localhost:8080"]);
/// assert!(ours.contains(&"https://API.example:443/users".parse()?));
/// assert!(!ours.contains(&"http://api.example/users".parse()?));
/// assert!(!ours.contains(&"https://api.example@evil.example/".parse()?));
/// # Ok::<_, http::uri::InvalidUri>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins {
    // Nothing stands for any.
    listed: Option<Box<[Origin]>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
    // As it is mostly written: without the port of the scheme.
    authority: String,
}

impl Origins {
    /// These origins, each a scheme, a host and, if it is not that of the
    /// scheme, a port.
    ///
    /// # Panics
    ///
    /// If one of them is no origin.
    #[track_caller]
    pub fn new<O: AsRef<str>>(origins: impl IntoIterator<Item = O>) -> Self {
        match Self::try_new(origins) {
            Ok(origins) => origins,
            Err(invalid) => panic!("{invalid}"),
        }
    }

    /// These origins, if they are.
    ///
    /// # Errors
    ///
    /// Names the first one that is no origin, and says why.
    pub fn try_new<O: AsRef<str>>(
        origins: impl IntoIterator<Item = O>,
    ) -> Result<Self, InvalidOrigin> {
        let origins = origins.into_iter().map(|text| Origin::parse(text.as_ref()));
        Ok(Self { listed: Some(origins.collect::<Result<_, _>>()?) })
    }

    /// All origins there are.
    pub fn any() -> Self {
        Self { listed: None }
    }

    /// Whether this is the address of something at one of the origins. One
    /// without scheme and host is only at [any](Self::any).
    #[inline]
    pub fn contains(&self, uri: &Uri) -> bool {
        let Some(listed) = &self.listed else {
            return true;
        };
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return false;
        };
        // No need to take apart what is written in the same way.
        let same =
            |origin: &Origin| origin.scheme == *scheme && origin.authority == authority.as_str();
        listed.iter().any(same) || Self::contains_other(listed, uri, scheme, authority)
    }

    /// The same, however it is written.
    #[cold]
    fn contains_other(
        listed: &[Origin],
        uri: &Uri,
        scheme: &Scheme,
        authority: &Authority,
    ) -> bool {
        let (host, Some(port)) = (authority.host(), port_of(uri)) else {
            return false;
        };
        listed.iter().any(|origin| {
            origin.port == port
                && origin.host.eq_ignore_ascii_case(host)
                && origin.scheme.as_str().eq_ignore_ascii_case(scheme.as_str())
        })
    }
}

impl Origin {
    fn parse(text: &str) -> Result<Self, InvalidOrigin> {
        let fail = |reason| InvalidOrigin::new(text, reason);
        let uri: Uri = text.parse().map_err(|_| fail(Reason::NoUri))?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(fail(Reason::Incomplete));
        };
        if authority.as_str().contains('@') {
            return Err(fail(Reason::UserInfo));
        }
        // A URI that ends with the authority has this path too.
        if uri.path_and_query().is_some_and(|path| path != "/") || text.contains('#') {
            return Err(fail(Reason::Path));
        }
        if authority.host().is_empty() {
            return Err(fail(Reason::Incomplete));
        }
        let port = port_of(&uri).ok_or_else(|| fail(Reason::Port))?;
        let (scheme, host) = (scheme.clone(), authority.host().to_owned());
        let authority = match default_port(scheme.as_str()) {
            Some(default) if default == port => host.clone(),
            _ => format!("{host}:{port}"),
        };
        Ok(Self { scheme, host, port, authority })
    }
}

/// The port that is named, or else that of the scheme. None, if what is named
/// is no port.
fn port_of(uri: &Uri) -> Option<u16> {
    let authority = uri.authority()?.as_str();
    let after_host = authority.rsplit_once('@').map_or(authority, |(_, rest)| rest);
    let after_host = after_host.get(uri.host()?.len()..)?;
    match after_host.strip_prefix(':').unwrap_or(after_host) {
        // RFC 3986, section 3.2.3: an empty port is none.
        "" => default_port(uri.scheme_str()?),
        port => port.parse().ok(),
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        scheme if scheme.eq_ignore_ascii_case("http") => Some(80),
        scheme if scheme.eq_ignore_ascii_case("https") => Some(443),
        _ => None,
    }
}

/// A text that is no origin. The text is shown unless it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidOrigin {
    text: Option<String>,
    reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    NoUri,
    Incomplete,
    UserInfo,
    Path,
    Port,
}

impl InvalidOrigin {
    fn new(text: &str, reason: Reason) -> Self {
        Self { text: (!text.contains('@')).then(|| text.to_owned()), reason }
    }
}

impl fmt::Display for InvalidOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => write!(f, "`{text}` is no origin: ")?,
            None => f.write_str("what was given is no origin: ")?,
        }
        f.write_str(match self.reason {
            Reason::NoUri => "it is no URI",
            Reason::Incomplete => "name scheme and host, as in `https://api.example`",
            Reason::UserInfo => "leave out what stands before the `@`",
            Reason::Path => "leave out what follows host and port",
            Reason::Port => "name the port, from 0 to 65535",
        })
    }
}

impl Error for InvalidOrigin {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let ours = Origins::new(["https://api.example", "HTTP://[::1]:8080/", "amqp://mq:5672"]);
        for (text, within) in [
            ("https://api.example", true),
            ("https://api.example:443/users?page=2", true),
            ("https://api.example:/users", true),
            ("hTTps://API.Example/", true),
            ("https://user:secret@api.example/", true),
            ("http://[::1]:8080/x", true),
            ("amqp://mq:5672/", true),
            ("amqp://mq/", false),
            ("http://api.example/", false),
            ("https://api.example:444/", false),
            ("https://api.example:80/", false),
            ("https://a.api.example/", false),
            ("https://api.example.evil.example/", false),
            ("https://evilapi.example/", false),
            ("https://api.example./", false),
            ("https://api.example@evil.example/", false),
            ("https://api.example:443@evil.example/", false),
            ("https://evil.example/https://api.example", false),
            ("https://evil.example/?@api.example", false),
            ("http://[::1]/", false),
            ("/users", false),
            ("api.example:443", false),
            ("*", false),
        ] {
            assert_eq!(ours.contains(&uri(text)), within, "{text}");
            assert!(Origins::any().contains(&uri(text)));
            assert!(!Origins::new([""; 0]).contains(&uri(text)));
        }
    }

    #[test]
    fn says_what_is_wrong_with_an_origin() {
        for (text, says) in [
            ("", "`` is no origin: it is no URI"),
            ("https://a b", "`https://a b` is no origin: it is no URI"),
            (
                "api.example",
                "`api.example` is no origin: name scheme and host, as in `https://api.example`",
            ),
            ("/users", "`/users` is no origin: name scheme and host, as in `https://api.example`"),
            (
                "https://u:secret@a.example",
                "what was given is no origin: leave out what stands before the `@`",
            ),
            (
                "https://a.example/v1",
                "`https://a.example/v1` is no origin: leave out what follows host and port",
            ),
            (
                "https://a.example?q",
                "`https://a.example?q` is no origin: leave out what follows host and port",
            ),
            ("amqp://a.example", "`amqp://a.example` is no origin: name the port, from 0 to 65535"),
        ] {
            assert_eq!(Origins::try_new([text]).unwrap_err().to_string(), says);
        }
    }

    #[test]
    #[should_panic(expected = "`https://a.example/v1` is no origin")]
    fn nonsense_panics() {
        let _ = Origins::new(["https://a.example/v1"]);
    }

    proptest! {
        #[test]
        fn no_userinfo_or_path_reaches_another_origin(
            before in "[a-z0-9.:@-]{0,12}",
            path in "[a-z0-9.:@/?-]{0,12}",
            port in proptest::option::of(0..=u16::MAX),
        ) {
            let ours = Origins::new(["https://api.example"]);
            let port_text = port.map_or(String::new(), |port| format!(":{port}"));
            for (host, own) in [("api.example", true), ("evil.example", false)] {
                let text = format!("https://{before}@{host}{port_text}/{path}");
                if let Ok(uri) = text.parse::<Uri>() {
                    let expected = own && matches!(port, None | Some(443));
                    prop_assert_eq!(ours.contains(&uri), expected, "{}", text);
                }
            }
        }

        #[test]
        fn an_origin_contains_itself_alone(
            one in ("https?", "[a-z]{1,3}", 1..4_u16),
            other in ("https?", "[a-z]{1,3}", 1..4_u16),
        ) {
            let text = |(scheme, host, port): &(String, String, u16)| format!("{scheme}://{host}:{port}");
            let origins = Origins::new([text(&one)]);
            prop_assert!(origins.contains(&uri(&text(&one).to_uppercase())));
            prop_assert_eq!(origins.contains(&uri(&text(&other))), one == other);
        }
    }
}

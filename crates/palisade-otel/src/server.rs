/// Whom a request is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Server<'r> {
    pub(crate) address: &'r str,
    pub(crate) port: Option<u16>,
}

impl<'r> Server<'r> {
    /// The server of an authority without userinfo. A port that is not named is
    /// that of the scheme.
    pub(crate) fn of(authority: &'r str, scheme: Option<&str>) -> Self {
        // Of an IPv6 address without a port, the last colon is its own.
        let split =
            authority.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = split.map_or((authority, None), |(host, port)| (host, Some(port)));
        // The brackets belong to the URI (RFC 3986, section 3.2.2).
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        Self { address: bare.unwrap_or(host), port: port.or_else(|| default_port(scheme?)) }
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_taken_apart() {
        for (authority, scheme, address, port) in [
            ("a.example", Some("https"), "a.example", Some(443)),
            ("a.example", Some("http"), "a.example", Some(80)),
            ("a.example", Some("amqp"), "a.example", None),
            ("a.example", None, "a.example", None),
            ("a.example:8443", Some("https"), "a.example", Some(8443)),
            ("[::1]:8080", Some("http"), "::1", Some(8080)),
            ("[::1]", Some("http"), "::1", Some(80)),
            ("_OTHER", None, "_OTHER", None),
        ] {
            assert_eq!(Server::of(authority, scheme), Server { address, port }, "{authority}");
        }
    }
}

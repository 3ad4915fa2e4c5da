//! How a base URL and a route make a URL.

use http::{
    Uri,
    uri::{Authority, PathAndQuery},
};
use palisade_core::Origins;
use percent_encoding::{percent_decode_str, utf8_percent_encode};

use crate::{invalid::Invalid, template};

/// Takes a base URL, if it is one that routes can be joined to.
pub(crate) fn check_base(base: &str) -> Result<Uri, Invalid> {
    if base.contains(['?', '#']) {
        let text = "a base URL has neither query nor fragment: leave out what follows the path";
        return Err(Invalid::new(text));
    }
    let uri = check_absolute(base)?;
    template::check_segments(uri.path())?;
    Ok(uri)
}

/// Writes a link from outside as it goes into a URL: servers and people write some of it as it
/// is read. What is encoded is so already.
///
/// # Errors
///
/// If a segment is one of dots between slashes of either kind, as WHATWG URLs have them.
pub(crate) fn write_link(link: &str, into: &mut String) -> Result<(), Invalid> {
    // WHATWG URL, section 4.4: what is around it is no part of it.
    let link = link.trim_matches(|char| char <= ' ');
    // RFC 3986, section 3.5: a fragment is not sent.
    let whole = link.split('#').next().unwrap_or_default();
    template::check_backslashes(whole)?;
    into.extend(utf8_percent_encode(whole, template::LITERAL));
    Ok(())
}

/// Where a link leads, if the client may go there.
pub(crate) fn resolve(
    base: Option<&Uri>,
    origins: Option<&Origins>,
    link: String,
) -> Result<Uri, Invalid> {
    if !link.split(['/', '?', '#']).next().is_some_and(|start| start.contains(':')) {
        return join(base, link);
    }
    let uri = check_absolute(&link)?;
    let ours = base.is_none_or(|base| same_origin(base, &uri));
    if !ours && !origins.is_some_and(|origins| origins.contains(&uri)) {
        let text = "the link leads to another origin than the base URL: allow it by `origins`";
        return Err(Invalid::new(text));
    }
    Ok(uri)
}

/// The base URL, its path included, followed by a path and query.
fn join(base: Option<&Uri>, mut path: String) -> Result<Uri, Invalid> {
    let Some(base) = base else {
        return Err(Invalid::new(
            "the client has no base URL: set `base_url`, or give a whole URL",
        ));
    };
    if path.starts_with("//") {
        let text = "a path that begins with two slashes would name another host";
        return Err(Invalid::new(text));
    }
    template::check_segments(&path)?;
    let prefix = base.path();
    match path.as_bytes().first() {
        None | Some(b'?' | b'#') => path.insert_str(0, prefix),
        Some(b'/') => path.insert_str(0, prefix.trim_end_matches('/')),
        Some(_) => {
            path.insert(0, '/');
            path.insert_str(0, prefix.trim_end_matches('/'));
        }
    }
    let path = PathAndQuery::try_from(path)
        .map_err(|error| Invalid::because("the path is no part of a URL", error))?;
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).map_err(|error| Invalid::because("the path is no part of a URL", error))
}

fn check_absolute(text: &str) -> Result<Uri, Invalid> {
    let uri: Uri = text.parse().map_err(|error: http::uri::InvalidUri| {
        if has_letters_beyond_ascii(text) {
            let text = "the host has letters beyond ASCII: write it in punycode, as in `xn--bcher-kva.example`";
            return Invalid::new(text);
        }
        Invalid::because("this is no URL", error)
    })?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        let text = "the URL needs `http://` or `https://`, as in `https://api.example/v1`";
        return Err(Invalid::new(text));
    }
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => {
            Err(Invalid::new("the URL holds credentials: take them out, and give them to a layer"))
        }
        Some(authority) if !has_port_of_sense(authority) => {
            Err(Invalid::new("the URL's port is no number up to 65535"))
        }
        Some(authority) if !authority.host().is_empty() => Ok(uri),
        _ => Err(Invalid::new("the URL names no host")),
    }
}

/// Whether the host has, encoded or not.
fn has_letters_beyond_ascii(url: &str) -> bool {
    let after = url.split_once("://").map_or("", |(_, after)| after);
    let authority = after.split(['/', '?', '#']).next().unwrap_or_default();
    percent_decode_str(authority).any(|byte| !byte.is_ascii())
}

/// Whether the port can be read, if there is one: what cannot is that of the scheme to `http`.
pub(crate) fn has_port_of_sense(authority: &Authority) -> bool {
    let after = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    matches!(after, "" | ":") || authority.port_u16().is_some()
}

/// RFC 6454, section 4, for the two schemes that there are here.
pub(crate) fn same_origin(one: &Uri, other: &Uri) -> bool {
    let port = |uri: &Uri| uri.port_u16().unwrap_or_else(|| if is_https(uri) { 443 } else { 80 });
    let host = |uri: &Uri| uri.host().map(str::to_ascii_lowercase);
    one.scheme() == other.scheme() && host(one) == host(other) && port(one) == port(other)
}

/// RFC 9110, section 4.2.4: who sends a request leaves user names and passwords out. Nothing, if
/// there is none.
pub(crate) fn without_userinfo(uri: &Uri) -> Option<Uri> {
    let (_, authority) = uri.authority()?.as_str().rsplit_once('@')?;
    let mut parts = uri.clone().into_parts();
    parts.authority = Some(authority.parse().ok()?);
    Uri::from_parts(parts).ok()
}

pub(crate) fn is_https(uri: &Uri) -> bool {
    uri.scheme_str() == Some("https")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resolved(base: &str, link: &str) -> Result<String, String> {
        let base = check_base(base).map_err(|invalid| invalid.to_string())?;
        let uri =
            resolve(Some(&base), None, link.to_owned()).map_err(|invalid| invalid.to_string())?;
        Ok(uri.to_string())
    }

    #[test]
    fn the_base_keeps_its_path() {
        for (base, path, url) in [
            ("https://api.example", "/users", "https://api.example/users"),
            ("https://api.example/", "/users", "https://api.example/users"),
            ("https://api.example/v1", "/users", "https://api.example/v1/users"),
            ("https://api.example/v1/", "/users/", "https://api.example/v1/users/"),
            ("https://api.example/v1", "users", "https://api.example/v1/users"),
            ("https://api.example/v1/", "", "https://api.example/v1/"),
            ("https://api.example/v1", "?a=1", "https://api.example/v1?a=1"),
            ("https://api.example:8443/v1", "/a?b=/../c", "https://api.example:8443/v1/a?b=/../c"),
            ("https://api.example:/v1", "/a", "https://api.example:/v1/a"),
            (
                "https://api.example/v1",
                "/a?next=http://b/",
                "https://api.example/v1/a?next=http://b/",
            ),
            ("https://api.example/v1", "/a#top", "https://api.example/v1/a"),
            ("https://[::1]:80/v1", "/a", "https://[::1]:80/v1/a"),
        ] {
            assert_eq!(resolved(base, path).as_deref(), Ok(url), "{base} and {path}");
        }
    }

    #[test]
    fn a_whole_url_stays_in_its_origin() {
        let base = "https://api.example/v1";
        for url in ["https://api.example/v2", "https://API.example:443/v2?page=2"] {
            assert!(resolved(base, url).is_ok(), "{url}");
        }
        for (url, named) in [
            ("http://api.example/v1", "another origin"),
            ("https://api.example:8443/v1", "another origin"),
            ("https://api.example.evil.example/", "another origin"),
            ("https://api.example@evil.example/", "credentials"),
            ("//evil.example/v1", "two slashes"),
            ("file:///etc/passwd", "no URL"),
            ("ftp://api.example/", "`http://`"),
            ("javascript:alert(1)", "http://"),
            ("/../admin", "dots"),
            ("/a/%2e%2E/admin", "dots"),
        ] {
            let error = resolved(base, url).unwrap_err();
            assert!(error.contains(named), "{url}: {error}");
        }
        let base = check_base(base).unwrap();
        let others = Origins::new(["https://cdn.example"]);
        assert!(resolve(Some(&base), Some(&others), "https://cdn.example/x".to_owned()).is_ok());
        assert!(resolve(None, None, "https://anywhere.example/x".to_owned()).is_ok());
    }

    #[test]
    fn a_base_that_is_none_is_refused() {
        for (base, named) in [
            ("", "no URL"),
            ("api.example", "`http://`"),
            ("/v1", "`http://`"),
            ("https://", "no URL"),
            ("https://api.example/v1?key=1", "query"),
            ("https://api.example/#x", "fragment"),
            ("https://me:secret@api.example/", "credentials"),
            ("https://api.example/a/../b", "dots"),
            ("https://api example/", "no URL"),
            ("https://api.example:99999/", "port"),
            ("https://[::1]:0x50/", "port"),
            ("https://:80/", "no host"),
            ("https://bücher.example/", "punycode"),
            ("https://b%C3%BCcher.example/", "punycode"),
        ] {
            let error = check_base(base).unwrap_err().to_string();
            assert!(error.contains(named), "{base}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_path_leaves_the_base(path in any::<String>()) {
            let base = check_base("https://api.example/v1").unwrap();
            let Ok(uri) = join(Some(&base), path) else { return Ok(()) };
            prop_assert_eq!(uri.authority().unwrap().as_str(), "api.example");
            prop_assert_eq!(uri.scheme_str(), Some("https"));
            prop_assert!(uri.path() == "/v1" || uri.path().starts_with("/v1/"), "{}", uri);
        }

        #[test]
        fn no_link_leaves_the_origin(
            link in r"(https?:|HTTPS:)?(//|//|//|[/\\]{0,3})([a@:.]{1,2})?(api|API|evil)\.example(:443|:80)?([/?#][a/\\?#@%.]{0,6})?",
        ) {
            let base = check_base("https://api.example/v1").unwrap();
            let mut written = String::new();
            let _ = write_link(&link, &mut written);
            for link in [link, written] {
                let Ok(uri) = resolve(Some(&base), None, link) else { continue };
                prop_assert!(same_origin(&base, &uri), "{}", uri);
            }
        }
    }
}

//! References to other resources, and what an unsafe method makes of what is stored for them.

use http::{
    HeaderMap, Method, StatusCode, Uri,
    header::{CONTENT_LOCATION, LOCATION},
    uri::PathAndQuery,
};
use palisade_core::is_safe;

use super::key::{same_origin, same_target};

/// The URIs for which nothing that is stored is valid any more, after a method
/// that is not safe was answered with success or a redirection: RFC 9111,
/// section 4.4.
///
/// The target, and those of the same origin that `Location` and
/// `Content-Location` name. Methods that are unknown are not safe.
pub(crate) fn invalidated(
    method: &Method,
    target: &Uri,
    status: StatusCode,
    response: &HeaderMap,
) -> Vec<Uri> {
    if is_safe(method) || !(status.is_success() || status.is_redirection()) {
        return Vec::new();
    }
    let mut uris = vec![target.clone()];
    for name in [LOCATION, CONTENT_LOCATION] {
        let Some(reference) = response.get(name) else {
            continue;
        };
        let named = resolve(target, reference.as_bytes());
        let named = named.filter(|uri| same_origin(uri, target));
        uris.extend(named.filter(|uri| !uris.iter().any(|known| same_target(known, uri))));
    }
    uris
}

/// What a reference means at a place: RFC 3986, section 5.2. Its fragment is left
/// out. Nothing, if it is no reference.
pub(crate) fn resolve(base: &Uri, reference: &[u8]) -> Option<Uri> {
    let reference = str::from_utf8(reference).ok()?.trim_ascii();
    let reference = reference.split('#').next().unwrap_or_default();
    if has_scheme(reference) {
        return reference.parse().ok();
    }
    let mut parts = base.clone().into_parts();
    if let Some(rest) = reference.strip_prefix("//") {
        let scheme = base.scheme_str()?;
        return format!("{scheme}://{rest}").parse().ok();
    }
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    let (path, query) = match path {
        "" => (
            base.path().to_owned(),
            query.or_else(|| base.query().filter(|_| reference.is_empty())),
        ),
        _ if path.starts_with('/') => (without_dots(path), query),
        _ => (without_dots(&beside(base.path(), path)), query),
    };
    let path = match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    Uri::from_parts(parts).ok()
}

fn has_scheme(reference: &str) -> bool {
    let Some((scheme, _)) = reference.split_once(':') else {
        return false;
    };
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(letter)
}

/// The path of a relative reference, in place of the last segment of another one.
fn beside(base: &str, path: &str) -> String {
    let directory = base.rfind('/').map_or("/", |at| &base[..=at]);
    format!("{directory}{path}")
}

/// RFC 3986, section 5.2.4.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            ".." => {
                kept.pop();
            }
            "." => {}
            segment => {
                kept.push(segment);
                continue;
            }
        }
        if last {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn references_are_resolved() {
        let base: Uri = "http://a.example/b/c/d?q".parse().unwrap();
        // RFC 3986, section 5.4, as far as it is about HTTP.
        for (reference, expected) in [
            ("g", "http://a.example/b/c/g"),
            ("./g", "http://a.example/b/c/g"),
            ("g/", "http://a.example/b/c/g/"),
            ("/g", "http://a.example/g"),
            ("//g", "http://g/"),
            ("?y", "http://a.example/b/c/d?y"),
            ("g?y", "http://a.example/b/c/g?y"),
            ("#s", "http://a.example/b/c/d?q"),
            ("g#s", "http://a.example/b/c/g"),
            ("", "http://a.example/b/c/d?q"),
            (".", "http://a.example/b/c/"),
            ("..", "http://a.example/b/"),
            ("../g", "http://a.example/b/g"),
            ("../../../g", "http://a.example/g"),
            ("/./g/../h", "http://a.example/h"),
            ("g/./h", "http://a.example/b/c/g/h"),
            ("g?y/../x", "http://a.example/b/c/g?y/../x"),
            ("https://B.example:1/x", "https://b.example:1/x"),
            (" /g ", "http://a.example/g"),
        ] {
            let uri = resolve(&base, reference.as_bytes()).unwrap();
            assert!(same_target(&uri, &expected.parse().unwrap()), "{reference:?}: {uri}");
        }
        for reference in ["mailto:a@a.example", "http://", "http://a b/", "/a b", "\u{e4}:x"] {
            let resolved = resolve(&base, reference.as_bytes());
            assert!(resolved.is_none_or(|uri| uri.host() != Some("a b")), "{reference:?}");
        }
    }

    #[test]
    fn an_unsafe_method_invalidates_what_it_names_of_its_origin() {
        let target = "http://a.example/x";
        for (method, status, fields, expected) in [
            ("POST", 200, &[][..], &[target][..]),
            ("PUT", 204, &[], &[target]),
            ("DELETE", 303, &[], &[target]),
            ("M-SEARCH", 200, &[], &[target]),
            ("POST", 500, &[], &[]),
            ("POST", 404, &[("location", "y")], &[]),
            ("GET", 200, &[("location", "y")], &[]),
            ("QUERY", 200, &[], &[]),
            ("POST", 201, &[("location", "/y")], &[target, "http://a.example/y"]),
            ("POST", 200, &[("content-location", "y")], &[target, "http://a.example/y"]),
            (
                "POST",
                200,
                &[("location", "y"), ("content-location", "/y")],
                &[target, "http://a.example/y"],
            ),
            ("POST", 200, &[("location", "http://A.example:80/x")], &[target]),
            ("POST", 200, &[("location", "http://b.example/y")], &[target]),
            ("POST", 200, &[("location", "//b.example/y")], &[target]),
            ("POST", 200, &[("location", "https://a.example/y")], &[target]),
            ("POST", 200, &[("location", "http://a.example@b.example/y")], &[target]),
            ("POST", 200, &[("location", "http://")], &[target]),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let status = StatusCode::from_u16(status).unwrap();
            let uris = invalidated(&method, &target.parse().unwrap(), status, &headers);
            let uris: Vec<_> = uris.iter().map(Uri::to_string).collect();
            assert_eq!(uris, expected, "{method} {status} {fields:?}");
        }
    }

    proptest! {
        #[test]
        fn any_reference_is_read_without_a_panic(
            reference in proptest::collection::vec(any::<u8>(), 0..32),
            like in "[a./?#:@]{0,16}",
        ) {
            for base in ["http://a.example/b/c?q", "/b/c", "*"] {
                let base = base.parse().unwrap();
                let _ = (resolve(&base, &reference), resolve(&base, like.as_bytes()));
            }
        }
    }
}

//! When two URIs are one resource: RFC 3986, section 6.2, and RFC 9110, section 4.2.3.

use std::hash::{Hash, Hasher};

use http::Uri;

/// Whether two URIs are equal once they are normal: schemes and hosts without
/// regard to case, a port that is not named is that of the scheme, an empty path
/// is `/`. Fragments are no part of a [`Uri`]. User names, paths and queries are
/// equal byte by byte. Allocates nothing.
pub(crate) fn same_target(one: &Uri, other: &Uri) -> bool {
    same_origin(one, other)
        && userinfo(one) == userinfo(other)
        && path(one) == path(other)
        && one.query() == other.query()
}

/// Whether two URIs have one origin: RFC 9110, section 4.3.1.
pub(crate) fn same_origin(one: &Uri, other: &Uri) -> bool {
    let same = |one: Option<&str>, other: Option<&str>| match (one, other) {
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
        (one, other) => one == other,
    };
    same(one.scheme_str(), other.scheme_str())
        && same(one.host(), other.host())
        && port(one) == port(other)
}

/// Hashes a URI so that those that are the [same](same_target) hash the same.
pub(crate) fn hash_target(uri: &Uri, state: &mut impl Hasher) {
    hash_lower(uri.scheme_str().unwrap_or_default(), state);
    hash_lower(uri.host().unwrap_or_default(), state);
    port(uri).hash(state);
    path(uri).hash(state);
    uri.query().hash(state);
}

/// Hashes a text without regard to case, several bytes at a time.
fn hash_lower(text: &str, state: &mut impl Hasher) {
    let mut buffer = [0; 64];
    for chunk in text.as_bytes().chunks(buffer.len()) {
        let lower = &mut buffer[..chunk.len()];
        lower.copy_from_slice(chunk);
        lower.make_ascii_lowercase();
        state.write(lower);
    }
    state.write_u8(0xff);
}

/// A port that is no number is as it is written.
#[derive(PartialEq, Eq, Hash)]
enum Port<'u> {
    Number(u16),
    Text(&'u str),
}

fn port(uri: &Uri) -> Port<'_> {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let after_user = authority.rsplit_once('@').map_or(authority, |(_, rest)| rest);
    let after_host = after_user.get(uri.host().unwrap_or_default().len()..).unwrap_or_default();
    let text = after_host.strip_prefix(':').unwrap_or(after_host);
    let known = |scheme: &str| uri.scheme_str().is_some_and(|it| it.eq_ignore_ascii_case(scheme));
    match text {
        "" if known("http") => Port::Number(80),
        "" if known("https") => Port::Number(443),
        text => text.parse().map_or(Port::Text(text), Port::Number),
    }
}

fn userinfo(uri: &Uri) -> &str {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    authority.rsplit_once('@').map_or("", |(user, _)| user)
}

fn path(uri: &Uri) -> &str {
    match uri.path() {
        "" => "/",
        path => path,
    }
}

#[cfg(test)]
mod tests {
    use std::hash::DefaultHasher;

    use proptest::prelude::*;

    use super::*;

    fn hash(uri: &Uri) -> u64 {
        let mut hasher = DefaultHasher::new();
        hash_target(uri, &mut hasher);
        hasher.finish()
    }

    #[test]
    fn uris_are_one_resource_once_they_are_normal() {
        let long = format!("http://{}.example/", "a".repeat(100));
        for (one, other, same) in [
            ("http://a.example", "http://a.example/", true),
            ("http://a.example/", "HTTP://A.Example:80/", true),
            ("http://a.example/", "http://a.example:/", true),
            ("https://a.example/", "https://a.example:443/", true),
            ("http://a.example/#x", "http://a.example/", true),
            ("http://a.example?q", "http://a.example/?q", true),
            (&long, &long.to_uppercase(), true),
            (&long, &long.replace("aaa", "AaA"), true),
            ("http://[::1]/", "http://[::1]:80/", true),
            ("/a", "/a", true),
            ("http://a.example/", "https://a.example/", false),
            ("http://a.example/", "http://a.example:8080/", false),
            ("http://a.example/", "http://b.example/", false),
            ("http://a.example/a", "http://a.example/A", false),
            ("http://a.example/?a=1&b=2", "http://a.example/?b=2&a=1", false),
            ("http://a.example/?", "http://a.example/", false),
            ("http://a.example/%41", "http://a.example/A", false),
            ("http://u@a.example/", "http://a.example/", false),
            ("http://u@a.example/", "http://U@a.example/", false),
            ("http://a.example/", "/", false),
        ] {
            let (one, other): (Uri, Uri) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(same_target(&one, &other), same, "{one} {other}");
            assert!(!same || hash(&one) == hash(&other), "{one} {other}");
        }
    }

    proptest! {
        #[test]
        fn the_same_hash_the_same(
            one in "(http|https|HTTP)://[aA]{1,2}(:80|:443|:)?/?[aA]?(\\?[aA]?)?",
            other in "(http|https|HTTP)://[aA]{1,2}(:80|:443|:)?/?[aA]?(\\?[aA]?)?",
        ) {
            if let (Ok(one), Ok(other)) = (one.parse::<Uri>(), other.parse::<Uri>()) {
                prop_assert!(same_target(&one, &one));
                if same_target(&one, &other) {
                    prop_assert_eq!(hash(&one), hash(&other));
                }
            }
        }
    }
}

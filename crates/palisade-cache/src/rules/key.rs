//! When two URIs are one resource: RFC 3986, section 6.2, and RFC 9110, section 4.2.3.

use std::hash::{Hash, Hasher};

use bytes::Bytes;
use http::{
    Uri,
    uri::{Authority, Parts, PathAndQuery, Scheme},
};

/// Whether two URIs are equal once they are normal: schemes and hosts without
/// regard to case, a port that is not named is that of the scheme, an empty path
/// is `/`. Fragments are no part of a [`Uri`]. User names, paths and queries are
/// equal byte by byte. Allocates nothing.
pub(crate) fn same_target(one: &Uri, other: &Uri) -> bool {
    path(one) == path(other) && one.query() == other.query() && same_place(one, other)
}

/// Whether two URIs have one origin: RFC 9110, section 4.3.1.
pub(crate) fn same_origin(one: &Uri, other: &Uri) -> bool {
    Place::of(one).origin_is(&Place::of(other))
}

/// Hashes a URI so that those that are the [same](same_target) hash the same.
pub(crate) fn hash_target(uri: &Uri, state: &mut impl Hasher) {
    let place = Place::of(uri);
    hash_lower(place.scheme, state);
    hash_lower(place.host, state);
    place.port.hash(state);
    path(uri).hash(state);
    uri.query().hash(state);
}

/// A URI in a normal form, which is the same for those that are the
/// [same](same_target): scheme, authority, and path with query.
pub(crate) fn normal(uri: &Uri) -> [String; 3] {
    let Place { scheme, user, host, port } = Place::of(uri);
    let mut authority = String::new();
    if !user.is_empty() {
        authority = format!("{user}@");
    }
    authority.extend(host.chars().map(|letter| letter.to_ascii_lowercase()));
    match port {
        // Without a host nothing would be left.
        port if port == Port::of(scheme, "") && !host.is_empty() => {}
        // The same, but for a path alone.
        Port::Text("") if host.is_empty() && !(scheme.is_empty() && user.is_empty()) => {
            authority.push(':');
        }
        Port::Text("") => {}
        Port::Text(port) => authority = format!("{authority}:{port}"),
        Port::Number(port) => authority = format!("{authority}:{port}"),
    }
    let mut path = path(uri).to_owned();
    if let Some(query) = uri.query() {
        path.push('?');
        path.push_str(query);
    }
    [scheme.to_ascii_lowercase(), authority, path]
}

/// The URI that has this [normal form](normal).
pub(crate) fn of_normal(written: &[Bytes; 3]) -> Option<Uri> {
    let [scheme, authority, path] = written;
    let mut parts = Parts::default();
    if !scheme.is_empty() {
        parts.scheme = Some(Scheme::try_from(&**scheme).ok()?);
    }
    if !authority.is_empty() {
        parts.authority = Some(Authority::from_maybe_shared(authority.clone()).ok()?);
    }
    // What is nothing but an authority has no path.
    if parts.authority.is_none() || parts.scheme.is_some() {
        parts.path_and_query = Some(PathAndQuery::from_maybe_shared(path.clone()).ok()?);
    }
    let uri = Uri::from_parts(parts).ok()?;
    let same = normal(&uri).iter().zip(written).all(|(one, other)| one.as_bytes() == other);
    same.then_some(uri)
}

fn same_place(one: &Uri, other: &Uri) -> bool {
    // Most are written the same, and then nothing has to be taken apart.
    if one.scheme_str() == other.scheme_str() && authority(one) == authority(other) {
        return true;
    }
    let (one, other) = (Place::of(one), Place::of(other));
    one.origin_is(&other) && one.user == other.user
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

/// What stands before the path, taken apart.
struct Place<'u> {
    scheme: &'u str,
    user: &'u str,
    host: &'u str,
    port: Port<'u>,
}

/// A port that is no number is as it is written.
#[derive(PartialEq, Eq, Hash)]
enum Port<'u> {
    Number(u16),
    Text(&'u str),
}

impl<'u> Place<'u> {
    fn of(uri: &'u Uri) -> Self {
        let authority = authority(uri);
        let at = authority.bytes().rposition(|byte| byte == b'@');
        let (user, rest) =
            at.map_or(("", authority), |at| (&authority[..at], &authority[at + 1..]));
        // The colons of an IPv6 address are within brackets.
        let bracket =
            if rest.starts_with('[') { rest.bytes().position(|byte| byte == b']') } else { None };
        let from = bracket.unwrap_or(0);
        let colon = rest.bytes().skip(from).position(|byte| byte == b':').map(|at| at + from);
        let (host, port) = colon.map_or((rest, ""), |at| (&rest[..at], &rest[at + 1..]));
        let scheme = uri.scheme_str().unwrap_or_default();
        Self { scheme, user, host, port: Port::of(scheme, port) }
    }

    fn origin_is(&self, other: &Self) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.host.eq_ignore_ascii_case(other.host)
            && self.port == other.port
    }
}

impl<'u> Port<'u> {
    fn of(scheme: &str, text: &'u str) -> Self {
        // RFC 3986, section 3.2.3: an empty port is none.
        match text {
            "" if scheme.eq_ignore_ascii_case("https") => Self::Number(443),
            "" if scheme.eq_ignore_ascii_case("http") => Self::Number(80),
            text => text.parse().map_or(Self::Text(text), Self::Number),
        }
    }
}

fn authority(uri: &Uri) -> &str {
    uri.authority().map_or("", |authority| authority.as_str())
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
            ("http://u:1@a.example/", "http://u:1@A.example:80/", true),
            ("http://[::1]:81/", "http://[::1]/", false),
            ("http://u@a.example/", "http://a.example/", false),
            ("http://u@a.example/", "http://U@a.example/", false),
            ("http://a.example/", "/", false),
        ] {
            let (one, other): (Uri, Uri) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(same_target(&one, &other), same, "{one} {other}");
            assert!(!same || hash(&one) == hash(&other), "{one} {other}");
        }
    }

    #[test]
    fn a_normal_form_is_one_that_can_be_read() {
        for (uri, expected) in [
            ("HTTP://me@A.example:080?q", ["http", "me@a.example", "/?q"]),
            ("https://[::1]:8443/%7ex?", ["https", "[::1]:8443", "/%7ex?"]),
            ("/x", ["", "", "/x"]),
            ("*", ["", "", "*"]),
            ("a.example:443", ["", "a.example:443", "/"]),
            ("ws://a.example:99999/", ["ws", "a.example:99999", "/"]),
            ("http://:80/", ["http", ":80", "/"]),
            ("ws://:", ["ws", ":", "/"]),
        ] {
            let uri: Uri = uri.parse().unwrap();
            assert_eq!(normal(&uri), expected);
            let read = of_normal(&normal(&uri).map(Bytes::from));
            assert!(read.is_some_and(|read| same_target(&read, &uri)), "{uri}");
        }
        for written in [
            ["", "", ""],
            ["http", "", "/"],
            ["http", "A", "/"],
            ["http", "a:80", "/"],
            ["", "a", "/x"],
        ] {
            assert_eq!(of_normal(&written.map(Bytes::from)), None, "{written:?}");
        }
    }

    proptest! {
        #[test]
        fn those_that_are_the_same_have_one_normal_form(
            one in "((http|https|HTTP|ws)://)?([b:]?@)?([aA]{0,2}|\\[::1\\])(:80|:443|:080|:99999|:x|:)?(/?[aA%é]?|\\*)(\\?[aA]?)?",
            other in "((http|https|HTTP|ws)://)?([b:]?@)?([aA]{0,2}|\\[::1\\])(:80|:443|:080|:99999|:x|:)?(/?[aA%é]?|\\*)(\\?[aA]?)?",
        ) {
            for uri in [&one, &other].into_iter().flat_map(|one| one.parse::<Uri>()) {
                let written = normal(&uri).map(Bytes::from);
                let read = of_normal(&written);
                prop_assert!(read.as_ref().is_some_and(|read| same_target(read, &uri)), "{:?}", uri);
            }
            if let (Ok(one), Ok(other)) = (one.parse::<Uri>(), other.parse::<Uri>()) {
                prop_assert_eq!(same_target(&one, &other), normal(&one) == normal(&other));
            }
        }

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

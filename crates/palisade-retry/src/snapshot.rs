use bytes::Bytes;
use http::{
    Extensions, HeaderName, HeaderValue, Method, Request, Uri, Version,
    header::HOST,
    uri::{self, Authority, PathAndQuery, Scheme},
};
use palisade_core::{Endpoint, Target};

/// The head of a request, kept for further attempts, in one allocation.
///
/// A clone of the head costs one for the map, and one for the target and for
/// each value that owns its bytes: the first clone of [`Bytes`] moves them to
/// shared storage. Here everything is copied into one buffer, and a map is
/// built of slices of it only when there is a further attempt.
#[derive(Debug)]
pub(crate) struct Snapshot {
    method: Method,
    version: Version,
    extensions: Extensions,
    // First the target in its three parts, then name and value of each field.
    parts: Bytes,
}

impl Snapshot {
    /// Keeps a head. `None`, if a part of it is longer than two gigabytes.
    pub(crate) fn of<B>(request: &Request<B>) -> Option<Self> {
        let (uri, fields) = (request.uri(), request.headers());
        let target = [
            uri.scheme_str(),
            uri.authority().map(Authority::as_str),
            uri.path_and_query().map(PathAndQuery::as_str),
        ];

        let target_size: usize = target
            .iter()
            .map(|part| Part::size(part.unwrap_or("").len()))
            .sum();
        let field_size = |(name, value): (&HeaderName, &HeaderValue)| {
            Part::size(name.as_str().len()) + Part::size(value.len())
        };
        let mut parts =
            Vec::with_capacity(target_size + fields.iter().map(field_size).sum::<usize>());

        for part in target {
            Part::of(part.map(str::as_bytes), false).write(&mut parts)?;
        }
        for (name, value) in fields {
            Part::of(Some(name.as_str().as_bytes()), false).write(&mut parts)?;
            Part::of(Some(value.as_bytes()), value.is_sensitive()).write(&mut parts)?;
        }
        Some(Self {
            method: request.method().clone(),
            version: request.version(),
            extensions: request.extensions().clone(),
            // As full as it can be, so this does not allocate.
            parts: Bytes::from(parts),
        })
    }

    /// Builds the head again.
    pub(crate) fn rebuild(&self) -> Request<()> {
        let mut parts = Parts(&self.parts);
        let mut next = || {
            let part = parts.next()?;
            Some((
                part.bytes.map(|bytes| self.parts.slice_ref(bytes)),
                part.sensitive,
            ))
        };

        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        *request.version_mut() = self.version;
        *request.extensions_mut() = self.extensions.clone();
        let mut target = || next().and_then(|(part, _)| part);
        *request.uri_mut() = build_uri(target(), target(), target());
        while let (Some((Some(name), _)), Some((Some(value), sensitive))) = (next(), next()) {
            let name =
                HeaderName::from_bytes(&name).expect("a name taken from a header map is valid");
            let mut value = HeaderValue::from_maybe_shared(value)
                .expect("a value taken from a header map is valid");
            value.set_sensitive(sensitive);
            request.headers_mut().append(name, value);
        }
        request
    }

    /// Where the request goes.
    pub(crate) fn target(&self) -> Target<'_> {
        let mut parts = Parts(&self.parts).map(|part| part.bytes);
        let (_scheme, authority, _path) = (parts.next(), parts.next().flatten(), parts.next());
        let mut fields = std::iter::from_fn(|| parts.next().flatten().zip(parts.next().flatten()));
        let authority = authority.or_else(|| {
            fields
                .find(|(name, _)| *name == HOST.as_str().as_bytes())
                .map(|field| field.1)
        });
        let mut target = Target::default();
        target.endpoint = Endpoint::of(&self.extensions);
        target.method = Some(&self.method);
        target.authority = authority.and_then(|authority| str::from_utf8(authority).ok());
        target
    }
}

fn build_uri(scheme: Option<Bytes>, authority: Option<Bytes>, path: Option<Bytes>) -> Uri {
    let mut parts = uri::Parts::default();
    parts.scheme = scheme
        .map(|scheme| Scheme::try_from(&*scheme).expect("a scheme taken from a URI is valid"));
    parts.authority = authority.map(|authority| {
        Authority::from_maybe_shared(authority).expect("an authority taken from a URI is valid")
    });
    parts.path_and_query = path.map(|path| {
        PathAndQuery::from_maybe_shared(path).expect("a path taken from a URI is valid")
    });
    Uri::from_parts(parts).expect("parts taken from a URI make one")
}

/// A piece of text behind its length: four bytes, little-endian, of which the
/// highest bit says that the text is sensitive, and all bits that it is missing.
struct Part<'p> {
    bytes: Option<&'p [u8]>,
    sensitive: bool,
}

const SENSITIVE: u32 = 1 << 31;
const MISSING: u32 = u32::MAX;

impl<'p> Part<'p> {
    fn of(bytes: Option<&'p [u8]>, sensitive: bool) -> Self {
        Self { bytes, sensitive }
    }

    fn size(length: usize) -> usize {
        size_of::<u32>() + length
    }

    fn write(self, parts: &mut Vec<u8>) -> Option<()> {
        let bytes = self.bytes.unwrap_or(&[]);
        let length = u32::try_from(bytes.len())
            .ok()
            .filter(|length| *length < !SENSITIVE)?;
        let prefix = match self.bytes {
            None => MISSING,
            Some(_) if self.sensitive => length | SENSITIVE,
            Some(_) => length,
        };
        parts.extend_from_slice(&prefix.to_le_bytes());
        parts.extend_from_slice(bytes);
        Some(())
    }
}

struct Parts<'p>(&'p [u8]);

impl<'p> Iterator for Parts<'p> {
    type Item = Part<'p>;

    fn next(&mut self) -> Option<Part<'p>> {
        let (prefix, rest) = self.0.split_first_chunk()?;
        let prefix = u32::from_le_bytes(*prefix);
        self.0 = rest;
        if prefix == MISSING {
            return Some(Part::of(None, false));
        }
        let (bytes, rest) = rest.split_at_checked((prefix & !SENSITIVE) as usize)?;
        self.0 = rest;
        Some(Part::of(Some(bytes), prefix & SENSITIVE != 0))
    }
}

#[cfg(test)]
mod tests {
    use http::header::{AUTHORIZATION, COOKIE};
    use proptest::prelude::*;

    use super::*;

    fn check(request: &Request<()>) {
        let snapshot = Snapshot::of(request).unwrap();
        for rebuilt in [snapshot.rebuild(), snapshot.rebuild()] {
            assert_eq!(rebuilt.method(), request.method());
            assert_eq!(rebuilt.version(), request.version());
            assert_eq!(rebuilt.uri(), request.uri());
            assert_eq!(rebuilt.uri().to_string(), request.uri().to_string());
            let fields = |request: &Request<()>| -> Vec<_> {
                let fields = request.headers().iter();
                fields
                    .map(|(name, value)| (name.clone(), value.clone(), value.is_sensitive()))
                    .collect()
            };
            assert_eq!(fields(&rebuilt), fields(request));
        }
    }

    #[test]
    fn every_form_of_target_survives() {
        for target in [
            "https://user@api.example:8443/a/b?c=d&e",
            "http://api.example",
            "custom+scheme://[::1]:80/%7Efoo?",
            "/origin/form?x",
            "/",
            "*",
            "api.example:443",
        ] {
            let mut request = Request::new(());
            *request.uri_mut() = target.parse().unwrap();
            *request.version_mut() = Version::HTTP_2;
            check(&request);
        }
    }

    #[test]
    fn sensitive_values_stay_so() {
        let mut request = Request::new(());
        let mut token = HeaderValue::from_static("secret");
        token.set_sensitive(true);
        request.headers_mut().append(AUTHORIZATION, token);
        request
            .headers_mut()
            .append(COOKIE, HeaderValue::from_static(""));
        check(&request);
    }

    #[test]
    fn extensions_are_kept_as_they_were() {
        let mut request = Request::new(());
        request.extensions_mut().insert(7_u32);
        let snapshot = Snapshot::of(&request).unwrap();
        let mut first = snapshot.rebuild();
        first
            .extensions_mut()
            .insert("written by the first attempt");
        let second = snapshot.rebuild();
        assert_eq!(second.extensions().get::<u32>(), Some(&7));
        assert!(second.extensions().get::<&str>().is_none());
    }

    #[test]
    fn names_the_target() {
        let target = |uri: &str, host: &'static str| {
            let mut request = Request::get(uri).body(()).unwrap();
            request
                .headers_mut()
                .insert("accept", HeaderValue::from_static("a/b"));
            request
                .headers_mut()
                .insert(HOST, HeaderValue::from_static(host));
            Snapshot::of(&request)
                .unwrap()
                .target()
                .authority
                .map(ToOwned::to_owned)
        };
        assert_eq!(
            target("https://a.example/x", "b.example").as_deref(),
            Some("a.example")
        );
        assert_eq!(target("/x", "b.example").as_deref(), Some("b.example"));
    }

    #[test]
    fn costs_one_allocation() {
        let mut request = Request::get("https://api.example/users").body(()).unwrap();
        for field in 0..8 {
            let value = Bytes::from(format!("value {field}").into_bytes());
            let name = HeaderName::from_bytes(format!("x-{field}").as_bytes()).unwrap();
            request
                .headers_mut()
                .append(name, HeaderValue::from_maybe_shared(value).unwrap());
        }
        let mut snapshot = None;
        let counted = allocation_counter::measure(|| snapshot = Snapshot::of(&request));
        assert_eq!(counted.count_total, 1);
        assert_eq!(
            counted.bytes_total,
            snapshot.unwrap().parts.len() as u64,
            "nothing is spare"
        );
    }

    fn name() -> impl Strategy<Value = HeaderName> {
        prop_oneof![
            Just(COOKIE),
            "[a-z0-9!#$%&'*+.^_`|~-]{1,80}"
                .prop_map(|name| HeaderName::from_bytes(name.as_bytes()).unwrap()),
        ]
    }

    fn value() -> impl Strategy<Value = HeaderValue> {
        let bytes = prop::collection::vec(
            prop_oneof![Just(b'\t'), 0x20..=0x7e_u8, 0x80..=0xff_u8],
            0..40,
        );
        (bytes, any::<bool>()).prop_map(|(bytes, sensitive)| {
            let mut value = HeaderValue::from_bytes(&bytes).unwrap();
            value.set_sensitive(sensitive);
            value
        })
    }

    proptest! {
        #[test]
        fn any_head_survives(
            method in "[A-Z]{1,30}",
            path in "/[a-zA-Z0-9/._~%-]{0,60}",
            fields in prop::collection::vec((name(), value()), 0..20),
        ) {
            let mut request = Request::new(());
            *request.method_mut() = method.parse().unwrap();
            *request.uri_mut() = format!("https://api.example{path}").parse().unwrap();
            for (name, value) in fields {
                request.headers_mut().append(name, value);
            }
            check(&request);
        }
    }
}

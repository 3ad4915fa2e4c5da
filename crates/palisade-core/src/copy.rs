use std::{fmt, mem};

use bytes::Bytes;
use http::{
    Extensions, HeaderName, HeaderValue, Method, Request, Uri, Version,
    header::HOST,
    uri::{self, Authority, PathAndQuery, Scheme},
};

use crate::{Attempt, Endpoint, Target};

/// The head of a request, kept in one allocation in case it is sent again.
///
/// A clone of the head costs one for the map, and one for the target and for
/// each value that owns its bytes: the first clone of [`Bytes`] moves them to
/// shared storage. Here everything is copied into one buffer, and a map is
/// built of slices of it only when it is sent again.
///
/// ```
/// use http::Request;
/// use palisade_core::{Attempt, HeadCopy};
///
/// let request = Request::get("https://api.example/users").header("accept", "a/b").body(())?;
/// let mut copy = HeadCopy::of(&request).expect("it is short");
/// copy.count_resend();
/// let again = copy.rebuild();
/// assert_eq!(again.uri(), request.uri());
/// assert_eq!(again.headers(), request.headers());
/// assert_eq!(Attempt::of(again.extensions()).resends(), 1);
/// # Ok::<_, http::Error>(())
/// ```
pub struct HeadCopy {
    method: Method,
    carried: Carried,
    // Three lengths and the parts of the target; then, of each field, two
    // lengths, the name and the value. Lengths take four bytes each. At the end
    // one byte, too few for a length: the version, which would take a word here.
    parts: Vec<u8>,
}

/// What the extensions of a request hold.
///
/// A clone of them costs an allocation for each value, and two for their table.
/// Most requests carry their endpoint and nothing else, and that is a reference.
enum Carried {
    Endpoint(&'static Endpoint),
    Any(Extensions),
}

/// Room for a name. To add the names up costs more than a spare byte; where
/// they are longer, the buffer grows.
const NAME: usize = 32;
/// A version is kept as its place among these.
const VERSIONS: [Version; 5] =
    [Version::HTTP_09, Version::HTTP_10, Version::HTTP_11, Version::HTTP_2, Version::HTTP_3];
/// Stands for the length of a part of the target that is missing.
const MISSING: u32 = u32::MAX;
/// Set in the length of a value that is sensitive.
const SENSITIVE: u32 = 1 << 31;

impl HeadCopy {
    /// Keeps a head. `None`, if a part of it is longer than two gigabytes, or its
    /// version is not known.
    pub fn of<B>(request: &Request<B>) -> Option<Self> {
        let (uri, fields) = (request.uri(), request.headers());
        let target = [
            uri.scheme_str(),
            uri.authority().map(Authority::as_str),
            uri.path_and_query().map(PathAndQuery::as_str),
        ];
        let target_size: usize = target.iter().flatten().map(|part| part.len()).sum();
        let values_size: usize = fields.values().map(HeaderValue::len).sum();
        let fields_size = fields.len() * (8 + NAME) + values_size;
        let mut parts = Vec::with_capacity(13 + target_size + fields_size);

        for part in target {
            let length = part.map_or(Some(MISSING), |part| length(part.len()))?;
            parts.extend_from_slice(&length.to_le_bytes());
        }
        for part in target.into_iter().flatten() {
            parts.extend_from_slice(part.as_bytes());
        }
        for (name, value) in fields {
            let name = name.as_str().as_bytes();
            let flag = if value.is_sensitive() { SENSITIVE } else { 0 };
            let lengths = [length(name.len())?, length(value.len())? | flag];
            parts.extend_from_slice(lengths.map(u32::to_le_bytes).as_flattened());
            parts.extend_from_slice(name);
            parts.extend_from_slice(value.as_bytes());
        }
        parts.push(
            VERSIONS.into_iter().zip(0..).find(|(version, _)| *version == request.version())?.1,
        );
        Some(Self {
            method: request.method().clone(),
            carried: Carried::of(request.extensions()),
            parts,
        })
    }

    /// Counts in the extensions that the request is sent once more.
    pub fn count_resend(&mut self) {
        self.carried.change(Attempt::count_resend);
    }

    /// Puts a value into the extensions, for when the request is sent once more.
    pub fn insert<T: Clone + Send + Sync + 'static>(&mut self, value: T) {
        self.carried.change(|extensions| drop(extensions.insert(value)));
    }

    /// Builds the head again.
    #[expect(clippy::missing_panics_doc, reason = "what was taken from a head makes one")]
    pub fn rebuild(&self) -> Request<()> {
        let parts = Bytes::copy_from_slice(&self.parts);
        let share = |part: &[u8]| parts.slice_ref(part);
        let ([scheme, authority, path], fields) = read(&parts);

        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        let version = self.parts.last().expect("a copy ends with its version");
        *request.version_mut() = VERSIONS[usize::from(*version)];
        *request.extensions_mut() = self.carried.to_extensions();
        *request.uri_mut() = build_uri(scheme, authority.map(share), path.map(share));
        // Values of one name need less room than is asked for; that there is
        // enough was shown by the map they come from.
        let _ = request.headers_mut().try_reserve(fields.clone().count());
        for (name, value, sensitive) in fields {
            let name =
                HeaderName::from_bytes(name).expect("a name taken from a header map is valid");
            let mut value = HeaderValue::from_maybe_shared(share(value))
                .expect("a value taken from a header map is valid");
            value.set_sensitive(sensitive);
            request.headers_mut().append(name, value);
        }
        request
    }

    /// Where the request goes.
    pub fn target(&self) -> Target<'_> {
        let ([_, authority, _], mut fields) = read(&self.parts);
        let host = || fields.find(|field| field.0 == HOST.as_str().as_bytes()).map(|field| field.1);
        let authority = authority.or_else(host);
        let authority = authority.and_then(|authority| str::from_utf8(authority).ok());
        Target::new(self.carried.endpoint(), Some(&self.method), authority)
    }
}

impl Carried {
    fn of(extensions: &Extensions) -> Self {
        match Endpoint::of(extensions) {
            Some(endpoint) if extensions.len() == 1 => Self::Endpoint(endpoint),
            _ => Self::Any(extensions.clone()),
        }
    }

    fn endpoint(&self) -> Option<&'static Endpoint> {
        match self {
            Self::Endpoint(endpoint) => Some(endpoint),
            Self::Any(extensions) => Endpoint::of(extensions),
        }
    }

    fn to_extensions(&self) -> Extensions {
        match self {
            Self::Endpoint(endpoint) => {
                let mut extensions = Extensions::new();
                endpoint.put_into(&mut extensions);
                extensions
            }
            Self::Any(extensions) => extensions.clone(),
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Extensions)) {
        let mut extensions = match self {
            Self::Endpoint(_) => self.to_extensions(),
            Self::Any(extensions) => mem::take(extensions),
        };
        change(&mut extensions);
        *self = Self::Any(extensions);
    }
}

impl fmt::Debug for HeadCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeadCopy").field("method", &self.method).finish_non_exhaustive()
    }
}

/// The parts of the target, and the fields.
fn read(mut parts: &[u8]) -> ([Option<&[u8]>; 3], Fields<'_>) {
    let lengths = [0; 3].map(|_| take_length(&mut parts).unwrap_or(MISSING));
    let target = lengths.map(|length| match length {
        MISSING => None,
        length => parts.split_off(..length as usize),
    });
    (target, Fields(parts))
}

#[derive(Clone)]
struct Fields<'p>(&'p [u8]);

impl<'p> Iterator for Fields<'p> {
    type Item = (&'p [u8], &'p [u8], bool);

    fn next(&mut self) -> Option<Self::Item> {
        let name = take_length(&mut self.0)?;
        let value = take_length(&mut self.0)?;
        let name = self.0.split_off(..name as usize)?;
        let sensitive = value & SENSITIVE != 0;
        let value = self.0.split_off(..(value & !SENSITIVE) as usize)?;
        Some((name, value, sensitive))
    }
}

#[inline]
fn length(length: usize) -> Option<u32> {
    u32::try_from(length).ok().filter(|length| *length < SENSITIVE)
}

fn take_length(parts: &mut &[u8]) -> Option<u32> {
    let (length, rest) = parts.split_first_chunk()?;
    *parts = rest;
    Some(u32::from_le_bytes(*length))
}

fn build_uri(scheme: Option<&[u8]>, authority: Option<Bytes>, path: Option<Bytes>) -> Uri {
    let mut parts = uri::Parts::default();
    parts.scheme =
        scheme.map(|scheme| Scheme::try_from(scheme).expect("a scheme taken from a URI is valid"));
    parts.authority = authority.map(|authority| {
        Authority::from_maybe_shared(authority).expect("an authority taken from a URI is valid")
    });
    parts.path_and_query = path.map(|path| {
        PathAndQuery::from_maybe_shared(path).expect("a path taken from a URI is valid")
    });
    Uri::from_parts(parts).expect("parts taken from a URI make one")
}

#[cfg(test)]
mod tests {
    use http::header::{AUTHORIZATION, COOKIE};
    use proptest::prelude::*;

    use super::*;

    fn check(request: &Request<()>) {
        let copy = HeadCopy::of(request).unwrap();
        for rebuilt in [copy.rebuild(), copy.rebuild()] {
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
    fn many_values_of_one_name_survive() {
        let mut request = Request::new(());
        for _ in 0..24_577 {
            request.headers_mut().append(COOKIE, HeaderValue::from_static("a=b"));
        }
        check(&request);
    }

    #[test]
    fn sensitive_values_stay_so() {
        let mut request = Request::new(());
        let mut token = HeaderValue::from_static("secret");
        token.set_sensitive(true);
        request.headers_mut().append(AUTHORIZATION, token);
        request.headers_mut().append(COOKIE, HeaderValue::from_static(""));
        check(&request);
    }

    #[test]
    fn extensions_are_kept_as_they_were() {
        let mut request = Request::new(());
        request.extensions_mut().insert(7_u32);
        let copy = HeadCopy::of(&request).unwrap();
        let mut first = copy.rebuild();
        first.extensions_mut().insert("written by the first attempt");
        let second = copy.rebuild();
        assert_eq!(second.extensions().get::<u32>(), Some(&7));
        assert!(second.extensions().get::<&str>().is_none());
    }

    #[test]
    fn an_endpoint_is_kept_without_a_table() {
        static LIST: Endpoint = Endpoint::new(Method::GET, "/users");
        let mut request = Request::get("/users").body(()).unwrap();
        LIST.put_into(request.extensions_mut());
        let mut copy = None;
        let counted = allocation_counter::measure(|| copy = HeadCopy::of(&request));
        assert_eq!(counted.count_total, 1);

        let mut copy = copy.unwrap();
        let carried = |copy: &HeadCopy| copy.rebuild().into_parts().0.extensions;
        assert_eq!(copy.target().endpoint, Some(&LIST));
        assert_eq!(Endpoint::of(&carried(&copy)), Some(&LIST));
        assert_eq!(carried(&copy).len(), 1);

        copy.count_resend();
        copy.insert(7_u32);
        let extensions = carried(&copy);
        assert_eq!(copy.target().endpoint, Some(&LIST));
        assert_eq!(Endpoint::of(&extensions), Some(&LIST));
        assert_eq!(Attempt::of(&extensions).resends(), 1);
        assert_eq!(extensions.get(), Some(&7_u32));
        assert_eq!(extensions.len(), 3);
    }

    #[test]
    fn names_the_target() {
        let target = |uri: &str, host: &'static str| {
            let mut request = Request::get(uri).body(()).unwrap();
            request.headers_mut().insert("accept", HeaderValue::from_static("a/b"));
            request.headers_mut().insert(HOST, HeaderValue::from_static(host));
            HeadCopy::of(&request).unwrap().target().authority.map(ToOwned::to_owned)
        };
        assert_eq!(target("https://a.example/x", "b.example").as_deref(), Some("a.example"));
        assert_eq!(target("/x", "b.example").as_deref(), Some("b.example"));
    }

    #[test]
    fn costs_one_allocation() {
        let mut request = Request::get("https://api.example/users").body(()).unwrap();
        for field in 0..8 {
            let value = Bytes::from(format!("value {field}").into_bytes());
            let name = HeaderName::from_bytes(format!("x-{field}").as_bytes()).unwrap();
            request.headers_mut().append(name, HeaderValue::from_maybe_shared(value).unwrap());
        }
        let mut copy = None;
        let counted = allocation_counter::measure(|| copy = HeadCopy::of(&request));
        assert_eq!(counted.count_total, 1);
        let kept = copy.unwrap().parts.len() as u64;
        assert!(counted.bytes_total <= kept + 9 * NAME as u64, "little is spare");
    }

    fn name() -> impl Strategy<Value = HeaderName> {
        prop_oneof![
            Just(COOKIE),
            "[a-z0-9!#$%&'*+.^_`|~-]{1,80}"
                .prop_map(|name| HeaderName::from_bytes(name.as_bytes()).unwrap()),
        ]
    }

    fn value() -> impl Strategy<Value = HeaderValue> {
        let bytes =
            prop::collection::vec(prop_oneof![Just(b'\t'), 0x20..=0x7e_u8, 0x80..=0xff_u8], 0..40);
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

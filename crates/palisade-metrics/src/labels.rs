use std::{
    hash::{BuildHasher, Hash, Hasher},
    ptr,
    sync::OnceLock,
};

use foldhash::fast::RandomState;
use http::{Method, uri::Scheme};
use palisade_core::Endpoint;

use crate::{group::Kind, table::Table};

/// What a label says: one of a bounded number of values, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Label(u16);

impl Label {
    /// There is none.
    pub(crate) const NONE: Self = Self(0);
    /// There is one, and no room for it.
    pub(crate) const OTHER: Self = Self(1);
    const FIRST: u16 = 2;

    fn at(place: usize) -> Self {
        Self(place as u16 + Self::FIRST)
    }

    fn place(self) -> Option<usize> {
        self.0.checked_sub(Self::FIRST).map(usize::from)
    }
}

/// What stands for values beyond those that there is room for.
pub(crate) const OTHER: &str = "_OTHER";

/// The most of any label.
pub(crate) const MOST: usize = 16_384;

/// The values of the labels, each label with as many as there is room for.
#[derive(Debug)]
pub(crate) struct Labels {
    hasher: RandomState,
    methods: Box<[Method]>,
    endpoints: Table<&'static Endpoint>,
    authorities: Table<Authority>,
}

/// Host and port, as they are written.
#[derive(Debug)]
struct Authority {
    text: String,
    // That of the scheme, if none is written: known with the first request.
    port: OnceLock<u16>,
}

/// What a request says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Says<'a> {
    pub(crate) endpoint: Option<&'static Endpoint>,
    pub(crate) method: &'a Method,
    pub(crate) authority: Option<&'a str>,
    pub(crate) scheme: Option<&'a Scheme>,
}

/// How many values of each label there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caps {
    pub(crate) endpoints: usize,
    pub(crate) authorities: usize,
}

impl Labels {
    pub(crate) fn new(caps: Caps, methods: &[Method]) -> Self {
        Self {
            hasher: RandomState::default(),
            methods: methods.into(),
            endpoints: Table::new(caps.endpoints.min(MOST)),
            authorities: Table::new(caps.authorities.min(MOST)),
        }
    }

    #[inline]
    pub(crate) fn hash(&self, value: &(impl Hash + ?Sized)) -> u64 {
        self.hasher.hash_one(value)
    }

    pub(crate) fn of(&self, says: Says<'_>) -> Kind {
        Kind {
            endpoint: self.endpoint(says.endpoint),
            method: self.method(says.method),
            authority: self.authority_by(says.authority, says.scheme),
        }
    }

    fn authority_by(&self, authority: Option<&str>, scheme: Option<&Scheme>) -> Label {
        let label = self.authority(authority);
        let found = label.place().and_then(|place| self.authorities.get(place));
        if let (Some(found), Some(port)) = (found, scheme.and_then(default_port)) {
            found.port.get_or_init(|| port);
        }
        label
    }

    /// The port of an authority, as far as it is known.
    pub(crate) fn port(&self, label: Label) -> Option<u16> {
        let authority = self.authorities.get(label.place()?)?;
        let named = authority.text.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        named.or_else(|| authority.port.get().copied())
    }

    /// Whether this is what the labels say, all of them in full.
    #[inline]
    pub(crate) fn say(&self, kind: Kind, says: Says<'_>) -> bool {
        let endpoint = kind.endpoint.place().and_then(|place| self.endpoints.get(place)).copied();
        let method = kind.method.place().and_then(|place| self.methods.get(place));
        let authority = kind.authority.place().and_then(|place| self.authorities.get(place));
        !kind.is_folded()
            && is_same(endpoint, says.endpoint)
            && method == Some(says.method)
            && authority.map(|authority| &*authority.text) == says.authority
    }

    #[inline]
    pub(crate) fn method(&self, method: &Method) -> Label {
        self.methods.iter().position(|known| known == method).map_or(Label::OTHER, Label::at)
    }

    /// By value: two statics may say the same.
    #[inline]
    pub(crate) fn endpoint(&self, endpoint: Option<&'static Endpoint>) -> Label {
        let Some(endpoint) = endpoint else {
            return Label::NONE;
        };
        let is = |there: &&'static Endpoint| *there == endpoint;
        let hash = self.hash(endpoint.template());
        self.endpoints.find_or_insert(hash, is, || endpoint).map_or(Label::OTHER, Label::at)
    }

    #[inline]
    pub(crate) fn authority(&self, authority: Option<&str>) -> Label {
        let Some(authority) = authority else {
            return Label::NONE;
        };
        let is = |there: &Authority| there.text == authority;
        let new = || Authority { text: authority.to_owned(), port: OnceLock::new() };
        let hash = self.hash(authority);
        let place = self.authorities.find_or_insert(hash, is, new);
        place.map_or(Label::OTHER, Label::at)
    }

    pub(crate) fn method_name(&self, label: Label) -> &str {
        let method = label.place().and_then(|place| self.methods.get(place));
        method.map_or(OTHER, Method::as_str)
    }

    pub(crate) fn endpoint_name(&self, label: Label) -> Option<&'static str> {
        let name = match label {
            Label::NONE => None,
            label => {
                let endpoint = label.place().and_then(|place| self.endpoints.get(place));
                Some(endpoint.map_or(OTHER, |endpoint| endpoint.template()))
            }
        };
        name.filter(says_something)
    }

    /// The method of an endpoint, if it is one that is told apart.
    pub(crate) fn endpoint_method(&self, label: Label) -> Option<&'static str> {
        let endpoint = label.place().and_then(|place| self.endpoints.get(place));
        endpoint.map(|endpoint| endpoint.method().as_str())
    }

    pub(crate) fn authority_name(&self, label: Label) -> Option<&str> {
        let name = match label {
            Label::NONE => None,
            label => {
                let authority = label.place().and_then(|place| self.authorities.get(place));
                Some(authority.map_or(OTHER, |authority| &*authority.text))
            }
        };
        name.filter(says_something)
    }
}

impl Hash for Says<'_> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Methods and endpoints are short and few: what they have in common costs one look more.
        let template = self.endpoint.map_or("", Endpoint::template);
        state.write(template.as_bytes());
        state.write(self.authority.unwrap_or_default().as_bytes());
        state.write_u8(self.method.as_str().len() as u8);
    }
}

/// By value, as two statics may say the same; most are the same one.
#[inline]
fn is_same(one: Option<&'static Endpoint>, other: Option<&'static Endpoint>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => ptr::eq(one, other) || one == other,
        (None, None) => true,
        _ => false,
    }
}

fn default_port(scheme: &Scheme) -> Option<u16> {
    match scheme.as_str() {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// To Prometheus, a label without a value is one that is not there.
fn says_something(name: &&str) -> bool {
    !name.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_no_room_for_is_other() {
        static ONE: Endpoint = Endpoint::new(Method::GET, "/one");
        static SAME: Endpoint = Endpoint::new(Method::GET, "/one");
        static TWO: Endpoint = Endpoint::new(Method::GET, "/two");
        let labels = Labels::new(Caps { endpoints: 1, authorities: 2 }, &[Method::GET]);
        let one = labels.endpoint(Some(&ONE));
        assert_eq!(labels.endpoint(Some(&SAME)), one);
        assert_eq!(labels.endpoint_name(one), Some("/one"));
        assert_eq!(labels.endpoint_name(labels.endpoint(Some(&TWO))), Some(OTHER));
        assert_eq!(labels.endpoint_name(labels.endpoint(None)), None);

        let names =
            ["a", "b", "c", "a"].map(|name| labels.authority_name(labels.authority(Some(name))));
        assert_eq!(names, [Some("a"), Some("b"), Some(OTHER), Some("a")]);
        assert_eq!(labels.method_name(labels.method(&Method::GET)), "GET");
        assert_eq!(labels.method_name(labels.method(&Method::POST)), OTHER);
    }
}

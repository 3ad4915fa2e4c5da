use http::{
    HeaderMap,
    header::{CACHE_CONTROL, PRAGMA},
};

use super::Directive;
use crate::rules::list;

/// What `Cache-Control` of a request asks, or in its stead `Pragma`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestDirectives {
    pub(crate) max_age: Option<u32>,
    /// How stale the response may be; [`u32::MAX`] is as stale as it likes.
    pub(crate) max_stale: Option<u32>,
    pub(crate) min_fresh: Option<u32>,
    pub(crate) stale_if_error: Option<u32>,
    pub(crate) no_cache: bool,
    pub(crate) no_store: bool,
    pub(crate) only_if_cached: bool,
}

impl RequestDirectives {
    /// Reads the fields, if they are there: most requests have none of them.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        if headers.contains_key(CACHE_CONTROL) {
            for member in list::members(headers, &CACHE_CONTROL) {
                directives.take(&Directive::parse(member));
            }
        } else {
            // RFC 9111, section 5.4, by way of RFC 7234: it counts where Cache-Control is absent.
            let mut pragmas = list::members(headers, &PRAGMA);
            directives.no_cache = pragmas.any(|pragma| pragma.eq_ignore_ascii_case(b"no-cache"));
        }
        directives
    }

    fn take(&mut self, directive: &Directive<'_>) {
        // What cannot be read asks for the most.
        let set = |place: &mut Option<u32>, unreadable: u32| {
            place.get_or_insert_with(|| directive.seconds().unwrap_or(unreadable));
        };
        match directive {
            it if it.is("max-age") => set(&mut self.max_age, 0),
            it if it.is("max-stale") => {
                set(&mut self.max_stale, if it.argument.is_none() { u32::MAX } else { 0 });
            }
            it if it.is("min-fresh") => set(&mut self.min_fresh, u32::MAX),
            it if it.is("stale-if-error") => set(&mut self.stale_if_error, 0),
            it if it.is("no-cache") => self.no_cache = true,
            it if it.is("no-store") => self.no_store = true,
            it if it.is("only-if-cached") => self.only_if_cached = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn reads_what_a_request_asks() {
        let none = RequestDirectives::default();
        let no_cache = RequestDirectives { no_cache: true, ..none };
        for (fields, expected) in [
            (&[][..], none),
            (&[("cache-control", "nothing-to-see-here"), ("pragma", "foo")], none),
            (&[("cache-control", "No-Cache")], no_cache),
            (&[("cache-control", "no-store")], RequestDirectives { no_store: true, ..none }),
            (
                &[("cache-control", "only-if-cached, max-age=600")],
                RequestDirectives { only_if_cached: true, max_age: Some(600), ..none },
            ),
            (&[("cache-control", "max-age=x")], RequestDirectives { max_age: Some(0), ..none }),
            (
                &[("cache-control", "max-stale")],
                RequestDirectives { max_stale: Some(u32::MAX), ..none },
            ),
            (
                &[("cache-control", "max-stale=\"60\", max-stale=90")],
                RequestDirectives { max_stale: Some(60), ..none },
            ),
            (&[("cache-control", "max-stale=")], RequestDirectives { max_stale: Some(0), ..none }),
            (
                &[("cache-control", "min-fresh=7"), ("cache-control", "stale-if-error=9")],
                RequestDirectives { min_fresh: Some(7), stale_if_error: Some(9), ..none },
            ),
            (
                &[("cache-control", "min-fresh")],
                RequestDirectives { min_fresh: Some(u32::MAX), ..none },
            ),
            (&[("pragma", "foo, No-Cache")], no_cache),
            (&[("pragma", "no-cache"), ("cache-control", "foo")], none),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                let name = HeaderName::from_static(name);
                headers.append(name, HeaderValue::from_static(value));
            }
            assert_eq!(RequestDirectives::of(&headers), expected, "{fields:?}");
        }
    }
}

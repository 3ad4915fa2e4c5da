use http::{HeaderMap, HeaderName, header::CACHE_CONTROL};

use super::Directive;
use crate::rules::{fields::VITAL, list};

/// What `Cache-Control` of a response says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResponseDirectives {
    pub(crate) max_age: Option<u32>,
    pub(crate) s_maxage: Option<u32>,
    pub(crate) stale_while_revalidate: Option<u32>,
    pub(crate) stale_if_error: Option<u32>,
    pub(crate) no_cache: Listed,
    pub(crate) private: Listed,
    pub(crate) no_store: bool,
    pub(crate) must_revalidate: bool,
    pub(crate) proxy_revalidate: bool,
    pub(crate) must_understand: bool,
    pub(crate) public: bool,
    pub(crate) immutable: bool,
}

/// A directive that may be about some fields only, RFC 9111, section 5.2.2.4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Listed {
    #[default]
    Absent,
    /// About the fields that it lists.
    Fields,
    /// About all of the response.
    Whole,
}

impl ResponseDirectives {
    /// Reads all lines of the field. Nothing fails: unknown directives say
    /// nothing, and times that cannot be read are over.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for member in list::members(headers, &CACHE_CONTROL) {
            directives.take(&Directive::parse(member));
        }
        directives
    }

    fn take(&mut self, directive: &Directive<'_>) {
        // RFC 9111, section 4.2.1: of two that differ, the first counts; what cannot be read is
        // stale.
        let set = |place: &mut Option<u32>| {
            place.get_or_insert_with(|| directive.seconds().unwrap_or(0));
        };
        match directive {
            it if it.is("max-age") => set(&mut self.max_age),
            it if it.is("s-maxage") => set(&mut self.s_maxage),
            it if it.is("stale-while-revalidate") => set(&mut self.stale_while_revalidate),
            it if it.is("stale-if-error") => set(&mut self.stale_if_error),
            it if it.is("no-cache") => self.no_cache.add(it.argument),
            it if it.is("private") => self.private.add(it.argument),
            it if it.is("no-store") => self.no_store = true,
            it if it.is("must-revalidate") => self.must_revalidate = true,
            it if it.is("proxy-revalidate") => self.proxy_revalidate = true,
            it if it.is("must-understand") => self.must_understand = true,
            it if it.is("public") => self.public = true,
            it if it.is("immutable") => self.immutable = true,
            _ => {}
        }
    }

    /// Calls back with the name of each field that `no-cache` lists, and with
    /// `private` each of those. Those that a cache cannot do without are left out:
    /// with them the directive is about the whole.
    pub(crate) fn listed_fields(headers: &HeaderMap, private: bool, mut each: impl FnMut(&[u8])) {
        for member in list::members(headers, &CACHE_CONTROL) {
            let directive = Directive::parse(member);
            if directive.is("no-cache") || private && directive.is("private") {
                names(directive.argument).filter(|name| !is_vital(name)).for_each(&mut each);
            }
        }
    }
}

impl Listed {
    /// Takes in one more directive of the kind. The whole includes its parts.
    pub(crate) fn add(&mut self, argument: Option<&[u8]>) {
        let mut fields = names(argument).peekable();
        if fields.peek().is_none() || fields.any(is_vital) {
            *self = Self::Whole;
        } else if *self == Self::Absent {
            *self = Self::Fields;
        }
    }
}

/// The names that an argument lists, as a quoted string or, of one name, as a token.
fn names(argument: Option<&[u8]>) -> impl Iterator<Item = &[u8]> {
    let argument = argument.map_or(&[][..], |text| list::unquote(text).unwrap_or(text));
    let valid = argument.iter().all(|byte| !matches!(byte, b'"' | b'\\' | b'='));
    list::split(if valid { argument } else { &[] }, b',')
}

/// Whether a stored response means something else without this field.
fn is_vital(name: &[u8]) -> bool {
    HeaderName::from_bytes(name).is_ok_and(|name| VITAL.contains(&name))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::rules::list::MAX_SECONDS;

    fn headers(lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, HeaderValue::from_static(line));
        }
        headers
    }

    #[test]
    fn reads_max_age_as_the_suite_wants_it() {
        for (lines, expected) in [
            (&[][..], None),
            (&["max-age=3600"], Some(3600)),
            (&["MaX-aGe=3600"], Some(3600)),
            (&["foobar, max-age=3600"], Some(3600)),
            (&["max-age=003600"], Some(3600)),
            (&["max-age=2147483648"], Some(MAX_SECONDS)),
            (&["max-age=99999999999"], Some(MAX_SECONDS)),
            (&["max-age=\"3600\""], Some(3600)),
            (&["extension=\"max-age=3600\", max-age=1"], Some(1)),
            (&["max-age=1, extension=\"max-age=3600\""], Some(1)),
            (&["extension=\"max-age=3600"], None),
            // The first of two counts.
            (&["max-age=1800, max-age=1"], Some(1800)),
            (&["max-age=1800", "max-age=1"], Some(1800)),
            (&["max-age=1, max-age=1800"], Some(1)),
            (&["max-age=1", "max-age=1800"], Some(1)),
            (&["max-age=x", "max-age=1800"], Some(0)),
            // What cannot be read is stale, and no excuse for heuristics.
            (&["max-age"], Some(0)),
            (&["max-age="], Some(0)),
            (&["max-age=-3600"], Some(0)),
            (&["max-age='3600'"], Some(0)),
            (&["max-age=3600.5"], Some(0)),
            (&["max-age=a3600"], Some(0)),
            (&["max-age=3600a"], Some(0)),
            (&["max-age =3600"], Some(0)),
            (&["max-age= 3600"], Some(0)),
        ] {
            assert_eq!(ResponseDirectives::of(&headers(lines)).max_age, expected, "{lines:?}");
        }
    }

    #[test]
    fn reads_every_directive() {
        let all = "S-MaxAge=1, stale-while-revalidate=2, stale-if-error=3, no-cache, private, \
            No-StOrE, must-revalidate, proxy-revalidate, must-understand, public, immutable";
        let expected = ResponseDirectives {
            max_age: None,
            s_maxage: Some(1),
            stale_while_revalidate: Some(2),
            stale_if_error: Some(3),
            no_cache: Listed::Whole,
            private: Listed::Whole,
            no_store: true,
            must_revalidate: true,
            proxy_revalidate: true,
            must_understand: true,
            public: true,
            immutable: true,
        };
        assert_eq!(ResponseDirectives::of(&headers(&[all])), expected);
        let unknown = ["no-stored, xno-store, \"no-store\", store, =, ,, =no-store"];
        assert_eq!(ResponseDirectives::of(&headers(&unknown)), ResponseDirectives::default());
    }

    #[test]
    fn no_cache_may_be_about_some_fields() {
        for (lines, expected, fields) in [
            (&["no-cache=\"a\""][..], Listed::Fields, &["a"][..]),
            (&["no-cache=\"a, b\""], Listed::Fields, &["a", "b"]),
            (&["no-cache=a"], Listed::Fields, &["a"]),
            (&["no-cache=\"a\"", "no-cache=b"], Listed::Fields, &["a", "b"]),
            (&["no-cache=\"a\", no-cache"], Listed::Whole, &["a"]),
            (&["no-cache, no-cache=\"a\""], Listed::Whole, &["a"]),
            (&["no-cache=\"\""], Listed::Whole, &[]),
            (&["no-cache="], Listed::Whole, &[]),
            (&["no-cache=\"a"], Listed::Whole, &[]),
            (&["private=\"c\""], Listed::Absent, &[]),
            // Without Vary, it would be for everybody.
            (&["no-cache=\"a, Vary\""], Listed::Whole, &["a"]),
            (&["no-cache=cache-control"], Listed::Whole, &[]),
        ] {
            let headers = headers(lines);
            assert_eq!(ResponseDirectives::of(&headers).no_cache, expected, "{lines:?}");
            let mut found = Vec::new();
            ResponseDirectives::listed_fields(&headers, false, |name| found.push(name.to_vec()));
            assert_eq!(found, fields.iter().map(|name| name.as_bytes()).collect::<Vec<_>>());
        }
    }
}

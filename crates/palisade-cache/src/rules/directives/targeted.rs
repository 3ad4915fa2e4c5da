use std::convert::Infallible;

use http::{HeaderMap, HeaderName};
use sfv::{
    BareItemFromInput as Bare, KeyRef, Parser,
    visitor::{DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor},
};

use super::response::{Listed, ResponseDirectives};
use crate::rules::list::MAX_SECONDS;

static CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// What `CDN-Cache-Control` says to shared caches, RFC 9213, in place of
/// `Cache-Control` and `Expires`.
///
/// Nothing, if the field is absent or empty, is no structured field, or gives a
/// directive a value of the wrong type.
pub(crate) fn of(headers: &HeaderMap) -> Option<ResponseDirectives> {
    let mut lines = headers.get_all(&CDN_CACHE_CONTROL).iter().peekable();
    lines.peek()?;
    let mut said = Said::default();
    for line in lines {
        Parser::new(line.as_bytes()).parse_dictionary_with_visitor(&mut said).ok()?;
    }
    (said.any && !said.wrong).then_some(said.directives)
}

#[derive(Default)]
struct Said {
    directives: ResponseDirectives,
    any: bool,
    wrong: bool,
}

impl<'h> DictionaryVisitor<'h> for &mut Said {
    type Out = ();
    type Error = Infallible;

    fn entry(&mut self, key: &'h KeyRef) -> Result<impl EntryVisitor<'h>, Infallible> {
        self.any = true;
        Ok(Member { said: self, key: key.as_str() })
    }

    fn finish(self) -> Result<(), Infallible> {
        Ok(())
    }
}

struct Member<'s, 'h> {
    said: &'s mut Said,
    key: &'h str,
}

impl<'h> EntryVisitor<'h> for Member<'_, 'h> {
    type Error = Infallible;

    fn item(self) -> Result<impl sfv::visitor::ItemVisitor<'h>, Infallible> {
        Ok(move |value: Bare<'h>| {
            self.said.take(self.key, &value);
            Ok::<_, Infallible>(Ignored)
        })
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'h>, Infallible> {
        self.said.wrong |= is_known(self.key);
        Ok(Ignored)
    }
}

impl Said {
    /// Takes a member in. RFC 9651, section 3.2: of two with one key the last counts.
    fn take(&mut self, key: &str, value: &Bare<'_>) {
        let directives = &mut self.directives;
        let time = match key {
            "max-age" => &mut directives.max_age,
            "s-maxage" => &mut directives.s_maxage,
            "stale-while-revalidate" => &mut directives.stale_while_revalidate,
            "stale-if-error" => &mut directives.stale_if_error,
            _ => return self.take_flag(key, value),
        };
        match value {
            // Less than nothing is nothing.
            Bare::Integer(seconds) => {
                let seconds = i64::from(*seconds).clamp(0, i64::from(MAX_SECONDS));
                *time = u32::try_from(seconds).ok();
            }
            _ => self.wrong = true,
        }
    }

    fn take_flag(&mut self, key: &str, value: &Bare<'_>) {
        let directives = &mut self.directives;
        let listed = match key {
            "no-cache" => Some(&mut directives.no_cache),
            "private" => Some(&mut directives.private),
            _ => None,
        };
        match (listed, value) {
            // RFC 9111, section 5.2.2.4, lets a cache take some fields for all of them.
            (Some(listed), Bare::String(_) | Bare::Token(_) | Bare::Boolean(true)) => {
                *listed = Listed::Whole;
            }
            (Some(listed), Bare::Boolean(false)) => *listed = Listed::Absent,
            (Some(_), _) => self.wrong = true,
            (None, value) => self.take_boolean(key, value),
        }
    }

    fn take_boolean(&mut self, key: &str, value: &Bare<'_>) {
        let directives = &mut self.directives;
        let flag = match key {
            "no-store" => &mut directives.no_store,
            "must-revalidate" => &mut directives.must_revalidate,
            "proxy-revalidate" => &mut directives.proxy_revalidate,
            "must-understand" => &mut directives.must_understand,
            "public" => &mut directives.public,
            "immutable" => &mut directives.immutable,
            _ => return,
        };
        match value {
            Bare::Boolean(value) => *flag = *value,
            _ => self.wrong = true,
        }
    }
}

fn is_known(key: &str) -> bool {
    let mut probe = Said::default();
    // A date is of no directive's type.
    probe.take(key, &Bare::Date(sfv::Date::UNIX_EPOCH));
    probe.wrong
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn parse(lines: &[&'static str]) -> Option<ResponseDirectives> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&CDN_CACHE_CONTROL, HeaderValue::from_static(line));
        }
        of(&headers)
    }

    #[test]
    fn times_are_integers() {
        for (line, expected) in [
            ("max-age=3600", Some(Some(3600))),
            ("max-age=2147483648", Some(Some(MAX_SECONDS))),
            ("max-age=99999999999", Some(Some(MAX_SECONDS))),
            ("foobar, max-age=3600", Some(Some(3600))),
            ("max-age=3600;foo=bar", Some(Some(3600))),
            ("max-age=0", Some(Some(0))),
            ("max-age=-1", Some(Some(0))),
            ("max-age=1, max-age=2", Some(Some(2))),
            ("foobar", Some(None)),
            ("max-age =100", None),
            ("max-age= 100", None),
            ("MaX-aGe=3600", None),
            ("max-age=10000, &&&&&", None),
            ("max-age=\"10000\"", None),
            ("max-age=1.5", None),
            ("max-age", None),
            ("max-age=(1 2)", None),
            ("foo=(1 2), max-age=1", Some(Some(1))),
            ("", None),
        ] {
            assert_eq!(parse(&[line]).map(|said| said.max_age), expected, "{line:?}");
        }
        let both = parse(&["max-age=1", "s-maxage=2"]).unwrap();
        assert_eq!((both.max_age, both.s_maxage), (Some(1), Some(2)));
        assert_eq!(parse(&["max-age=1", "?"]), None);
        assert_eq!(parse(&[]), None);
    }

    #[test]
    fn flags_are_booleans() {
        let all =
            parse(&["no-store, must-revalidate, proxy-revalidate, must-understand, public, \
             immutable, no-cache, private=\"a\", stale-if-error=1, stale-while-revalidate=2"]);
        let expected = ResponseDirectives {
            max_age: None,
            s_maxage: None,
            stale_while_revalidate: Some(2),
            stale_if_error: Some(1),
            no_cache: Listed::Whole,
            private: Listed::Whole,
            no_store: true,
            must_revalidate: true,
            proxy_revalidate: true,
            must_understand: true,
            public: true,
            immutable: true,
        };
        assert_eq!(all, Some(expected));
        let off = parse(&["no-store=?0, private=?0, public=?0"]);
        assert_eq!(off, Some(ResponseDirectives::default()));
        for wrong in ["no-store=1", "no-cache=1", "public=\"yes\"", "private=()"] {
            assert_eq!(parse(&[wrong]), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            line in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            if let Ok(line) = HeaderValue::from_bytes(&line) {
                let mut headers = HeaderMap::new();
                headers.insert(&CDN_CACHE_CONTROL, line);
                let _ = of(&headers);
            }
        }
    }
}

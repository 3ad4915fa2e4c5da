//! `Cache-Control` and `Pragma`, RFC 9111, section 5: what a response says, and what a request asks.

pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod targeted;

use super::list;

/// A directive: its name, and its argument, if it has one.
struct Directive<'h> {
    name: &'h [u8],
    argument: Option<&'h [u8]>,
}

impl<'h> Directive<'h> {
    fn parse(member: &'h [u8]) -> Self {
        let (written, argument) = list::name_and_value(member);
        let name = list::trim(written);
        // No blank belongs before the `=`: the name is known all the same, the argument is not.
        Self { name, argument: argument.map(|text| if name == written { text } else { b"" }) }
    }

    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// RFC 9111, section 5.2: as a token or as a quoted string.
    fn seconds(&self) -> Option<u32> {
        let argument = self.argument?;
        list::seconds(list::unquote(argument).unwrap_or(argument))
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header::CACHE_CONTROL};
    use proptest::prelude::*;

    use super::{request::RequestDirectives, response::ResponseDirectives};

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..64), 0..4),
        ) {
            let mut headers = HeaderMap::new();
            for line in lines.iter().filter_map(|line| HeaderValue::from_bytes(line).ok()) {
                headers.append(CACHE_CONTROL, line);
            }
            let _ = (ResponseDirectives::of(&headers), RequestDirectives::of(&headers));
        }

        #[test]
        fn the_order_of_different_directives_does_not_matter(
            directives in Just([
                "max-age=1", "s-maxage=2", "no-cache", "private", "stale-if-error=3", "x=\"a, b\"",
            ].to_vec()).prop_shuffle(),
            lines in 1..6_usize,
        ) {
            let headers = |directives: &[&str]| {
                let mut headers = HeaderMap::new();
                for line in directives.chunks(lines) {
                    headers.append(CACHE_CONTROL, HeaderValue::try_from(line.join(" ,")).unwrap());
                }
                headers
            };
            let shuffled = ResponseDirectives::of(&headers(&directives));
            let mut sorted = directives;
            sorted.sort_unstable();
            prop_assert_eq!(shuffled, ResponseDirectives::of(&headers(&sorted)));
        }
    }
}

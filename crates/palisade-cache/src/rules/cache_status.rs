//! `Cache-Status`, RFC 9211: what a cache did with a request.

use std::fmt::Write;

use http::HeaderValue;

use super::lookup::Why;

/// What is said of one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CacheStatus<'n> {
    /// The name of the cache.
    pub(crate) cache: &'n str,
    pub(crate) handled: Handled,
    /// How long the response is still fresh, in seconds.
    pub(crate) ttl: Option<i64>,
    /// Something more, as a token.
    pub(crate) detail: Option<&'static str>,
}

/// How a request was handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handled {
    /// With what was stored, and without a word to the origin.
    Hit,
    Forwarded {
        why: Forward,
        /// What the origin answered, where that is not what is answered here.
        status: Option<u16>,
        stored: bool,
        /// Together with another request for the same.
        collapsed: bool,
    },
}

/// Why a request went on to the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forward {
    /// The cache was told not to handle it.
    Bypass,
    /// Its method is one that goes to the origin.
    Method,
    /// Nothing was stored for the URI.
    UriMiss,
    /// What was stored is for other requests.
    VaryMiss,
    /// What was stored was fresh, but the request did not take it.
    Request,
    /// What was stored was stale.
    Stale,
    /// What was stored is only a part.
    Partial,
}

impl From<Why> for Forward {
    fn from(why: Why) -> Self {
        match why {
            Why::Request => Self::Request,
            // What must not be used as it is, is as good as stale.
            Why::Stale | Why::NoCache => Self::Stale,
        }
    }
}

impl Forward {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

impl CacheStatus<'_> {
    /// The member of the list that this cache adds at its end.
    pub(crate) fn value(&self) -> HeaderValue {
        let mut text = String::with_capacity(64);
        write_name(&mut text, self.cache);
        match self.handled {
            Handled::Hit => text.push_str("; hit"),
            Handled::Forwarded { why, status, stored, collapsed } => {
                text.push_str("; fwd=");
                text.push_str(why.as_str());
                if let Some(status) = status {
                    let _ = write!(text, "; fwd-status={status}");
                }
                if stored {
                    text.push_str("; stored");
                }
                if collapsed {
                    text.push_str("; collapsed");
                }
            }
        }
        if let Some(ttl) = self.ttl {
            let _ = write!(text, "; ttl={ttl}");
        }
        if let Some(detail) = self.detail {
            text.push_str("; detail=");
            text.push_str(detail);
        }
        HeaderValue::try_from(text).expect("it is ASCII without controls")
    }
}

/// As a token where it is one, and else as a string. What neither can say is left
/// out.
fn write_name(text: &mut String, name: &str) {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte);
    let starts = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '*');
    if starts && name.bytes().all(token) {
        return text.push_str(name);
    }
    text.push('"');
    for letter in name.chars().filter(|letter| matches!(letter, ' '..='~')) {
        if matches!(letter, '"' | '\\') {
            text.push('\\');
        }
        text.push(letter);
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn says_what_was_done() {
        let status =
            CacheStatus { cache: "palisade", handled: Handled::Hit, ttl: None, detail: None };
        let forwarded =
            |why, status, stored, collapsed| Handled::Forwarded { why, status, stored, collapsed };
        for (status, expected) in [
            (status, "palisade; hit"),
            (
                CacheStatus {
                    handled: forwarded(Why::NoCache.into(), None, false, false),
                    ..status
                },
                "palisade; fwd=stale",
            ),
            (CacheStatus { ttl: Some(-412), ..status }, "palisade; hit; ttl=-412"),
            (CacheStatus { cache: "my \"cache\"", ..status }, r#""my \"cache\""; hit"#),
            (CacheStatus { cache: "", ..status }, "\"\"; hit"),
            (CacheStatus { cache: "1\u{e4}\n", ..status }, "\"1\"; hit"),
            (
                CacheStatus {
                    handled: forwarded(Forward::Stale, Some(304), true, false),
                    ttl: Some(30),
                    ..status
                },
                "palisade; fwd=stale; fwd-status=304; stored; ttl=30",
            ),
            (
                CacheStatus {
                    handled: forwarded(Forward::UriMiss, None, false, true),
                    detail: Some("no-store"),
                    ..status
                },
                "palisade; fwd=uri-miss; collapsed; detail=no-store",
            ),
        ] {
            assert_eq!(status.value(), expected);
        }
    }

    proptest! {
        #[test]
        fn is_a_structured_field(cache in any::<String>(), ttl in any::<i32>()) {
            let all = [
                Forward::Bypass, Forward::Method, Forward::UriMiss, Forward::VaryMiss,
                Forward::Request, Forward::Stale, Forward::Partial,
            ];
            for why in all {
                let handled =
                    Handled::Forwarded { why, status: Some(200), stored: true, collapsed: true };
                let ttl = Some(i64::from(ttl));
                let status = CacheStatus { cache: &cache, handled, ttl, detail: Some("vary") };
                let value = status.value();
                let parsed = sfv::Parser::new(value.as_bytes())
                    .parse_list_with_visitor(sfv::visitor::Ignored);
                prop_assert!(parsed.is_ok(), "{value:?}");
            }
        }
    }
}

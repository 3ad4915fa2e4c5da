//! Which parts of a query are part of the key: said by the rules of a route.

use http::{Uri, uri::PathAndQuery};

/// The parameters of a query that tell resources apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueryKeys<'k> {
    /// These alone.
    Only(&'k [String]),
    /// All but these.
    Except(&'k [String]),
}

impl QueryKeys<'_> {
    /// The URI with what counts of its query, in the order in which it is written.
    /// Names are compared as they are written too: `%61` is not `a`.
    ///
    /// Nothing, if all of it counts: the URI is its own key.
    pub(crate) fn reduce(self, uri: &Uri) -> Option<Uri> {
        let query = uri.query()?;
        let counts = |pair: &&str| self.counts(pair.split('=').next().unwrap_or_default());
        if query.split('&').all(|pair| counts(&pair)) {
            return None;
        }
        let kept = query.split('&').filter(counts).collect::<Vec<_>>().join("&");
        let path = uri.path();
        let text = if kept.is_empty() { path.to_owned() } else { format!("{path}?{kept}") };
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(text).ok()?);
        Uri::from_parts(parts).ok()
    }

    fn counts(self, name: &str) -> bool {
        match self {
            Self::Only(names) => names.iter().any(|known| known == name),
            Self::Except(names) => !names.iter().any(|known| known == name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_counts_is_part_of_the_key() {
        let names = ["a".to_owned(), "b".to_owned()];
        let (only, except) = (QueryKeys::Only(&names), QueryKeys::Except(&names));
        for (keys, uri, expected) in [
            (only, "http://a.example/x", None),
            (only, "http://a.example/x?b=1&a=2", None),
            (only, "http://a.example/x?a=1&utm=2&b=3&b", Some("http://a.example/x?a=1&b=3&b")),
            (only, "http://a.example/x?utm=2", Some("http://a.example/x")),
            (only, "http://a.example?aa=2", Some("http://a.example/")),
            (only, "http://a.example/x?%61=2", Some("http://a.example/x")),
            (only, "/x?a&c", Some("/x?a")),
            (except, "http://a.example/x?a=1&c=2&b", Some("http://a.example/x?c=2")),
            (except, "http://a.example/x?c=2", None),
            (except, "http://a.example/x?", None),
        ] {
            let reduced = keys.reduce(&uri.parse().unwrap());
            assert_eq!(reduced, expected.map(|uri| uri.parse().unwrap()), "{keys:?} {uri}");
        }
    }
}

use http::Uri;

/// The query parameters whose values no span shows.
#[derive(Clone, Debug)]
pub(crate) struct Redact {
    parameters: Box<[String]>,
}

const REDACTED: &str = "REDACTED";

impl Redact {
    /// Those that OpenTelemetry's semantic conventions name, or once named: keys
    /// and signatures of the object stores of Amazon, Microsoft and Google.
    pub(crate) fn signatures() -> Self {
        Self::of([
            "X-Amz-Signature",
            "X-Amz-Credential",
            "X-Amz-Security-Token",
            "AWSAccessKeyId",
            "Signature",
            "sig",
            "X-Goog-Signature",
        ])
    }

    pub(crate) fn of<K: Into<String>>(parameters: impl IntoIterator<Item = K>) -> Self {
        Self { parameters: parameters.into_iter().map(Into::into).collect() }
    }

    /// A URL without what is secret in it; nothing, if it is not absolute.
    pub(crate) fn url(&self, uri: &Uri) -> Option<String> {
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?.as_str());
        let path_and_query = uri.path_and_query().map_or("", |path| path.as_str());
        let mut url =
            String::with_capacity(scheme.len() + 3 + authority.len() + path_and_query.len());
        url.push_str(scheme);
        url.push_str("://");
        match authority.rsplit_once('@') {
            None => url.push_str(authority),
            Some((user, host)) => {
                url.push_str(REDACTED);
                if user.contains(':') {
                    url.push(':');
                    url.push_str(REDACTED);
                }
                url.push('@');
                url.push_str(host);
            }
        }
        url.push_str(uri.path());
        for (index, parameter) in uri.query().into_iter().flat_map(|q| q.split('&')).enumerate() {
            url.push(if index == 0 { '?' } else { '&' });
            match parameter.split_once('=') {
                Some((name, _)) if self.parameters.iter().any(|secret| secret == name) => {
                    url.push_str(name);
                    url.push('=');
                    url.push_str(REDACTED);
                }
                _ => url.push_str(parameter),
            }
        }
        Some(url)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_secret_is_not_shown() {
        for (uri, shown) in [
            ("https://a.example", Some("https://a.example/")),
            ("https://a.example:8443/b?c=d&e", Some("https://a.example:8443/b?c=d&e")),
            ("https://a.example/b?", Some("https://a.example/b?")),
            ("https://user:pass@a.example/", Some("https://REDACTED:REDACTED@a.example/")),
            ("https://user@a.example/", Some("https://REDACTED@a.example/")),
            ("https://a.example/?x=1&sig=2&y=3", Some("https://a.example/?x=1&sig=REDACTED&y=3")),
            (
                "https://a.example/?sig=a=b&sig=",
                Some("https://a.example/?sig=REDACTED&sig=REDACTED"),
            ),
            ("https://a.example/?SIG=2&sig", Some("https://a.example/?SIG=2&sig")),
            (
                "https://a.example/?X-Amz-Security-Token=t",
                Some("https://a.example/?X-Amz-Security-Token=REDACTED"),
            ),
            ("/b?sig=1", None),
            ("a.example:443", None),
        ] {
            let redact = Redact::signatures();
            assert_eq!(redact.url(&uri.parse().unwrap()).as_deref(), shown, "{uri}");
        }
    }

    #[test]
    fn a_list_is_all_there_is() {
        let uri = "https://a.example/?sig=1&token=2".parse().unwrap();
        let redact = Redact::of(["token"]);
        assert_eq!(redact.url(&uri).unwrap(), "https://a.example/?sig=1&token=REDACTED");
    }

    proptest! {
        #[test]
        fn what_is_not_secret_stays(path in "(/[a-z%0-9]{0,5}){1,3}", query in "[a-z=&%?]{0,12}") {
            let text = format!("https://a.example:1{path}?{query}");
            let uri: Uri = text.parse().unwrap();
            prop_assert_eq!(Redact::of([""; 0]).url(&uri), Some(uri.to_string()));
        }
    }
}

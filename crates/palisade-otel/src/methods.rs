use std::borrow::Cow;

use http::Method;

/// The methods that have a name; whoever may choose a method may choose among
/// any number.
#[derive(Clone, Debug)]
pub(crate) struct Methods {
    // Nothing stands for those that the conventions know.
    listed: Option<Box<[Method]>>,
}

impl Methods {
    /// Those of RFC 9110, PATCH (RFC 5789) and QUERY.
    pub(crate) fn known() -> Self {
        Self { listed: None }
    }

    pub(crate) fn of(methods: impl IntoIterator<Item = Method>) -> Self {
        Self { listed: Some(methods.into_iter().collect()) }
    }

    /// The method, if it is one of them.
    pub(crate) fn name(&self, method: &Method) -> Option<Cow<'static, str>> {
        match &self.listed {
            None => known(method).map(Cow::Borrowed),
            Some(listed) => listed.contains(method).then(|| match known(method) {
                Some(name) => Cow::Borrowed(name),
                None => Cow::Owned(method.as_str().to_owned()),
            }),
        }
    }
}

fn known(method: &Method) -> Option<&'static str> {
    const KNOWN: [&str; 10] =
        ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "CONNECT", "TRACE", "QUERY"];
    KNOWN.into_iter().find(|known| *known == method.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_all_there_is() {
        let method = |name: &str| Method::from_bytes(name.as_bytes()).unwrap();
        let listed = Methods::of([Method::GET, method("PURGE")]);
        for (name, by_default, by_list) in [
            ("GET", true, true),
            ("PATCH", true, false),
            ("QUERY", true, false),
            ("PURGE", false, true),
            ("get", false, false),
        ] {
            let method = method(name);
            assert_eq!(Methods::known().name(&method).as_deref(), by_default.then_some(name));
            assert_eq!(listed.name(&method).as_deref(), by_list.then_some(name));
        }
    }
}

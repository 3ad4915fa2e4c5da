use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    sync::{LazyLock, PoisonError, RwLock},
};

use foldhash::fast::RandomState;
use http::{Method, Uri};
use palisade_core::Endpoint;

/// Where a request goes: a template from the source code, or a link from outside.
///
/// A `&'static str` is a template, `/users/{id}`, whose values
/// [`path`](crate::RequestBuilder::path) gives; method and template become the
/// request's [`Endpoint`], by which layers know it. A `String` or a [`Uri`],
/// such as the link to a next page, is taken as it is: a whole URL leads where it
/// says, and all else follows on the base URL. So `/v1/users?page=2`, as some servers
/// give it, is below a base URL of `https://api.example/v1` one `/v1` too many: put
/// `https://api.example` before it. What cannot stand in a URL, such as a space, is
/// percent-encoded; a `%` is left, as one of what is encoded already.
pub struct Route {
    pub(crate) link: Cow<'static, str>,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Template,
    Known(&'static Endpoint),
    Link,
}

impl Route {
    pub(crate) fn of(endpoint: &'static Endpoint) -> Self {
        Self { link: Cow::Borrowed(endpoint.template()), kind: Kind::Known(endpoint) }
    }

    /// The endpoint, if the route is a template.
    pub(crate) fn endpoint(&self, method: &Method) -> Option<&'static Endpoint> {
        match (self.kind, &self.link) {
            (Kind::Known(endpoint), _) => Some(endpoint),
            (Kind::Template, Cow::Borrowed(template)) => intern(method, path_of(template)),
            _ => None,
        }
    }
}

impl From<&'static str> for Route {
    fn from(template: &'static str) -> Self {
        Self { link: Cow::Borrowed(template), kind: Kind::Template }
    }
}

impl From<String> for Route {
    fn from(link: String) -> Self {
        Self { link: Cow::Owned(link), kind: Kind::Link }
    }
}

impl From<Uri> for Route {
    fn from(link: Uri) -> Self {
        link.to_string().into()
    }
}

impl From<&Uri> for Route {
    fn from(link: &Uri) -> Self {
        link.to_string().into()
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Link => f.write_str("Route(link)"),
            _ => f.debug_tuple("Route").field(&self.link).finish(),
        }
    }
}

/// The path of a template, without origin and query.
fn path_of(template: &'static str) -> &'static str {
    let path = template.split('?').next().unwrap_or_default();
    match path.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |start| &rest[start..]),
        None => path,
    }
}

/// Of so many templates endpoints are made, which stay: a program has them in
/// its source. One that makes templates and leaks them gets no more.
const ENDPOINTS: usize = 4096;

#[derive(Default)]
struct Table {
    by_template: HashMap<&'static str, Vec<&'static Endpoint>, RandomState>,
    len: usize,
}

impl Table {
    fn find(&self, method: &Method, template: &str) -> Option<&'static Endpoint> {
        let endpoints = self.by_template.get(template)?;
        endpoints.iter().copied().find(|endpoint| endpoint.method() == method)
    }

    fn add(
        &mut self,
        method: &Method,
        template: &'static str,
        most: usize,
    ) -> Option<&'static Endpoint> {
        if let Some(endpoint) = self.find(method, template) {
            return Some(endpoint);
        }
        if most <= self.len {
            return None;
        }
        self.len += 1;
        let endpoint: &'static _ = Box::leak(Box::new(Endpoint::new(method.clone(), template)));
        self.by_template.entry(template).or_default().push(endpoint);
        Some(endpoint)
    }
}

fn intern(method: &Method, template: &'static str) -> Option<&'static Endpoint> {
    static TABLE: LazyLock<RwLock<Table>> = LazyLock::new(RwLock::default);
    let found = TABLE.read().unwrap_or_else(PoisonError::into_inner).find(method, template);
    found.or_else(|| {
        let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
        table.add(method, template, ENDPOINTS)
    })
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;

    #[test]
    fn one_template_and_method_is_one_endpoint() {
        let first = intern(&Method::GET, "/route/{id}").unwrap();
        assert!(ptr::eq(first, intern(&Method::GET, "/route/{id}").unwrap()));
        assert_eq!(first, &Endpoint::new(Method::GET, "/route/{id}"));
        assert_ne!(first, intern(&Method::PUT, "/route/{id}").unwrap());
    }

    #[test]
    fn the_table_has_an_end() {
        let mut table = Table::default();
        assert!(table.add(&Method::GET, "/a", 1).is_some());
        assert!(table.add(&Method::GET, "/b", 1).is_none());
        assert!(table.add(&Method::GET, "/a", 1).is_some());
    }

    #[test]
    fn an_endpoint_is_named_by_its_path() {
        for (template, path) in [
            ("/users/{id}?full=1", "/users/{id}"),
            ("https://api.example/users/{id}", "/users/{id}"),
            ("https://api.example", "/"),
            ("users", "users"),
        ] {
            assert_eq!(path_of(template), path);
        }
    }
}

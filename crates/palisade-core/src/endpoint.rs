use http::{Extensions, Method};

/// Which operation of an API a request belongs to.
///
/// A name of bounded number, in place of the path, which has as many values as
/// there are things: layers use it as a key (one breaker per endpoint) and as
/// a label (one series per endpoint). It travels in the request's extensions.
///
/// Without an endpoint, layers go by method and authority; never by the path.
///
/// ```
/// use http::{Method, Request};
/// use palisade_core::Endpoint;
///
/// static GET_USER: Endpoint = Endpoint::new(Method::GET, "/users/{id}");
///
/// let mut request = Request::get("https://api.example/users/7").body(())?;
/// GET_USER.put_into(request.extensions_mut());
/// assert_eq!(Endpoint::of(request.extensions()), Some(&GET_USER));
/// # Ok::<_, http::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    method: Method,
    template: &'static str,
}

impl Endpoint {
    /// An endpoint by its method and route template.
    pub const fn new(method: Method, template: &'static str) -> Self {
        Self { method, template }
    }

    /// The endpoint that a request's extensions carry.
    pub fn of(extensions: &Extensions) -> Option<&'static Self> {
        extensions.get::<&'static Self>().copied()
    }

    /// Marks a request as a call of this endpoint.
    pub fn put_into(&'static self, extensions: &mut Extensions) {
        extensions.insert(self);
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The route template, such as `/users/{id}`.
    pub fn template(&self) -> &'static str {
        self.template
    }
}

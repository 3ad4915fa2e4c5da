use std::fmt;

use http::Method;
use matchit::Router;
use palisade_core::{Endpoint, Head};
use palisade_settings::{InvalidSetting, literal};

/// Finds the endpoint of a request: the label that stands for its path.
///
/// [`InExtensions`] by default; [`Routes`] of templates, [`endpoint_fn`], or
/// an [`Endpoint`] itself if all requests have the same.
pub trait FindEndpoint {
    /// The endpoint, if the request has one.
    fn endpoint(&self, head: Head<'_>) -> Option<&'static Endpoint>;
}

/// What the request's extensions say. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct InExtensions;

impl FindEndpoint for InExtensions {
    #[inline]
    fn endpoint(&self, head: Head<'_>) -> Option<&'static Endpoint> {
        head.endpoint()
    }
}

impl FindEndpoint for &'static Endpoint {
    fn endpoint(&self, _: Head<'_>) -> Option<&'static Endpoint> {
        Some(self)
    }
}

/// Finds endpoints by method and path, where requests carry none.
///
/// ```
/// use http::{Method, Request};
/// use palisade_core::{Endpoint, Head};
/// use palisade_metrics::{FindEndpoint, Routes};
///
/// static GET_USER: Endpoint = Endpoint::new(Method::GET, "/users/{id}");
/// static PUT_USER: Endpoint = Endpoint::new(Method::PUT, "/users/{id}");
///
/// let routes = Routes::new([&GET_USER, &PUT_USER]);
/// let request = Request::put("https://api.example/users/7").body(())?;
/// assert_eq!(routes.endpoint(Head::of(&request)), Some(&PUT_USER));
/// # Ok::<_, http::Error>(())
/// ```
#[derive(Clone)]
pub struct Routes {
    paths: Router<Vec<&'static Endpoint>>,
}

impl Routes {
    /// Routes by the templates of these endpoints, as [matchit] reads them.
    ///
    /// [matchit]: https://docs.rs/matchit
    ///
    /// # Panics
    ///
    /// If a template is malformed, or two of them contradict each other.
    #[track_caller]
    pub fn new(endpoints: impl IntoIterator<Item = &'static Endpoint>) -> Self {
        literal(Self::try_new(endpoints))
    }

    /// As [`new`](Self::new), for templates from outside.
    ///
    /// # Errors
    ///
    /// If a template is malformed, or two of them contradict each other.
    pub fn try_new(
        endpoints: impl IntoIterator<Item = &'static Endpoint>,
    ) -> Result<Self, InvalidSetting> {
        let mut by_path: Vec<(&str, Vec<&'static Endpoint>)> = Vec::new();
        for endpoint in endpoints {
            match by_path.iter_mut().find(|(path, _)| *path == endpoint.template()) {
                Some((_, same)) => same.push(endpoint),
                None => by_path.push((endpoint.template(), vec![endpoint])),
            }
        }
        let mut paths = Router::new();
        for (path, endpoints) in by_path {
            paths.insert(path, endpoints).map_err(|_| {
                InvalidSetting::new(
                    "a template is malformed or contradicts another: write `/users/{id}`, and each \
                     parameter by one name",
                )
            })?;
        }
        Ok(Self { paths })
    }
}

impl FindEndpoint for Routes {
    fn endpoint(&self, head: Head<'_>) -> Option<&'static Endpoint> {
        let by_method = |method: &Method| {
            let found = self.paths.at(head.uri.path()).ok()?;
            found.value.iter().find(|endpoint| endpoint.method() == method).copied()
        };
        head.endpoint().or_else(|| by_method(head.method))
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").finish_non_exhaustive()
    }
}

/// Finds endpoints by a function of the request's head.
pub fn endpoint_fn<F>(find: F) -> EndpointFn<F>
where
    F: Fn(Head<'_>) -> Option<&'static Endpoint>,
{
    EndpointFn(find)
}

/// Made by [`endpoint_fn`].
#[derive(Clone, Copy)]
pub struct EndpointFn<F>(F);

impl<F: Fn(Head<'_>) -> Option<&'static Endpoint>> FindEndpoint for EndpointFn<F> {
    fn endpoint(&self, head: Head<'_>) -> Option<&'static Endpoint> {
        (self.0)(head)
    }
}

impl<F> fmt::Debug for EndpointFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EndpointFn(..)")
    }
}

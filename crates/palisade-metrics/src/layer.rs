use std::fmt;

use palisade_core::HttpClassify;
use tower_layer::Layer;

use crate::{
    InExtensions, Metered,
    store::{Place, Store},
    stripes::Pointers,
};

/// Counts and times what passes: made by
/// [`Registry::calls`](crate::Registry::calls),
/// [`Registry::attempts`](crate::Registry::attempts) and
/// [`Registry::served`](crate::Registry::served).
///
/// Clones and services share the registry, which is where the counts are.
#[derive(Clone)]
#[must_use]
pub struct MetricsLayer<C = HttpClassify, N = InExtensions> {
    place: Place,
    classify: C,
    endpoints: N,
    stores: Pointers<Store>,
}

impl<M> MetricsLayer<HttpClassify<M>> {
    pub(crate) fn new(place: Place, stores: Pointers<Store>) -> Self {
        Self { place, classify: HttpClassify::new(), endpoints: InExtensions, stores }
    }
}

impl<C, N> MetricsLayer<C, N> {
    /// Sets what a result means, for the success rate and for the kinds of
    /// errors. Each request clones it, so what it holds should be in an `Arc`.
    /// Defaults to [`HttpClassify`].
    ///
    /// ```
    /// use palisade_core::{HttpClassify, Typed};
    /// use palisade_metrics::{MetricsLayer, Registry};
    ///
    /// // The first one is replaced, so nothing else says what it judges.
    /// let layer = Registry::new().calls::<Typed>().classify(HttpClassify::new().grpc());
    /// # let _: MetricsLayer<HttpClassify> = layer;
    /// ```
    pub fn classify<D>(self, classify: D) -> MetricsLayer<D, N> {
        let Self { place, endpoints, stores, .. } = self;
        MetricsLayer { place, classify, endpoints, stores }
    }

    /// Sets how the endpoint of a request is found. Defaults to
    /// [`InExtensions`].
    ///
    /// ```
    /// use http::Method;
    /// use palisade_core::Endpoint;
    /// use palisade_metrics::{Registry, Routes};
    ///
    /// static GET_USER: Endpoint = Endpoint::new(Method::GET, "/users/{id}");
    ///
    /// let layer = Registry::new().attempts::<palisade_core::Typed>().endpoints(Routes::new([&GET_USER]));
    /// # let _ = layer;
    /// ```
    pub fn endpoints<D>(self, endpoints: D) -> MetricsLayer<C, D> {
        let Self { place, classify, stores, .. } = self;
        MetricsLayer { place, classify, endpoints, stores }
    }
}

impl<C, N> fmt::Debug for MetricsLayer<C, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsLayer").field("place", &self.place).finish_non_exhaustive()
    }
}

impl<S, C: Clone, N: Clone> Layer<S> for MetricsLayer<C, N> {
    type Service = Metered<S, C, N>;

    fn layer(&self, inner: S) -> Self::Service {
        let stores = self.stores.clone();
        Metered::new(inner, self.place, self.classify.clone(), self.endpoints.clone(), stores)
    }
}

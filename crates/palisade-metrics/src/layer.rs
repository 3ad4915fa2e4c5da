use std::{fmt, sync::Arc};

use palisade_core::HttpClassify;
use tower_layer::Layer;

use crate::{
    InExtensions, Metered,
    store::{Place, Store},
    stripes::{Pointer, Pointers},
};

/// Counts and times what passes: made by
/// [`Registry::calls`](crate::Registry::calls) and
/// [`Registry::attempts`](crate::Registry::attempts).
///
/// Clones and services share the registry, which is where the counts are.
#[must_use]
pub struct MetricsLayer<C = HttpClassify, N = InExtensions> {
    rules: Pointers<Rules<C, N>>,
}

/// What the services of a layer share.
#[derive(Clone, Debug)]
pub(crate) struct Rules<C, N> {
    pub(crate) place: Place,
    pub(crate) classify: C,
    pub(crate) endpoints: N,
    stores: Pointers<Store>,
}

impl<C, N> Rules<C, N> {
    #[inline]
    pub(crate) fn store(&self) -> &Store {
        self.stores.mine()
    }

    /// The store, for as long as a body lasts.
    #[inline]
    pub(crate) fn keep_store(&self) -> Pointer<Store> {
        Arc::clone(self.stores.mine())
    }
}

impl<M> MetricsLayer<HttpClassify<M>> {
    pub(crate) fn new(place: Place, stores: Pointers<Store>) -> Self {
        let rules = Rules { place, classify: HttpClassify::new(), endpoints: InExtensions, stores };
        Self::of(rules)
    }
}

impl<C, N> MetricsLayer<C, N> {
    fn of(rules: Rules<C, N>) -> Self {
        Self { rules: Pointers::new(rules) }
    }
}

impl<C: Clone, N: Clone> MetricsLayer<C, N> {
    /// Sets what a result means, for the success rate and for the kinds of
    /// errors. Defaults to [`HttpClassify`].
    pub fn classify<D>(self, classify: D) -> MetricsLayer<D, N> {
        let Rules { place, endpoints, stores, .. } = self.rules();
        MetricsLayer::of(Rules { place, classify, endpoints, stores })
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
        let Rules { place, classify, stores, .. } = self.rules();
        MetricsLayer::of(Rules { place, classify, endpoints, stores })
    }

    fn rules(&self) -> Rules<C, N> {
        Rules::clone(self.rules.mine())
    }
}

impl<C, N> Clone for MetricsLayer<C, N> {
    fn clone(&self) -> Self {
        Self { rules: self.rules.clone() }
    }
}

impl<C, N> fmt::Debug for MetricsLayer<C, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsLayer").finish_non_exhaustive()
    }
}

impl<S, C, N> Layer<S> for MetricsLayer<C, N> {
    type Service = Metered<S, C, N>;

    fn layer(&self, inner: S) -> Self::Service {
        Metered::new(inner, self.rules.clone())
    }
}

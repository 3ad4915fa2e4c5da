use std::{fmt, sync::Arc};

use palisade_core::HttpClassify;
use tower_layer::Layer;

use crate::{
    InExtensions, Metered,
    call::{Holds, StoreHold},
    store::{Place, Store},
    stripes,
};

/// Counts and times what passes: made by
/// [`Registry::calls`](crate::Registry::calls) and
/// [`Registry::attempts`](crate::Registry::attempts).
///
/// Clones and services share the registry, which is where the counts are.
#[must_use]
pub struct MetricsLayer<C = HttpClassify, N = InExtensions> {
    rules: Arc<[Hold<C, N>]>,
}

/// The rules, by a pointer of which each thread has another: so that not all
/// of them count their calls in one word.
pub(crate) type Hold<C, N> = Arc<Arc<Rules<C, N>>>;

/// What the services of a layer share.
#[derive(Clone, Debug)]
pub(crate) struct Rules<C, N> {
    pub(crate) place: Place,
    pub(crate) classify: C,
    pub(crate) endpoints: N,
    pub(crate) stores: Arc<[StoreHold]>,
}

impl<C, N> Rules<C, N> {
    /// The store, for as long as a body lasts.
    #[inline]
    pub(crate) fn store_hold(&self) -> StoreHold {
        Arc::clone(mine(&self.stores))
    }
}

/// That of this thread.
#[inline]
pub(crate) fn mine<T>(holds: &[T]) -> &T {
    &holds[stripes::mine() & (holds.len() - 1)]
}

impl<C, N> Holds for Hold<C, N> {
    #[inline]
    fn store(&self) -> &Store {
        mine(&self.stores).store()
    }
}

impl<E> MetricsLayer<HttpClassify<E>> {
    pub(crate) fn new(place: Place, stores: Arc<[StoreHold]>) -> Self {
        let rules = Rules { place, classify: HttpClassify::new(), endpoints: InExtensions, stores };
        Self::of(rules)
    }
}

impl<C, N> MetricsLayer<C, N> {
    fn of(rules: Rules<C, N>) -> Self {
        let rules = Arc::new(rules);
        Self { rules: (0..stripes::count()).map(|_| Arc::new(Arc::clone(&rules))).collect() }
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
        let hold: &Hold<C, N> = mine(&self.rules);
        Rules::clone(hold)
    }
}

impl<C, N> Clone for MetricsLayer<C, N> {
    fn clone(&self) -> Self {
        Self { rules: Arc::clone(&self.rules) }
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
        Metered::new(inner, Arc::clone(&self.rules))
    }
}

use std::{fmt, sync::Arc, time::Duration};

use palisade_core::{Observed, Observer, WallClock};
use tower_layer::Layer;

use super::{
    body_key::Unread,
    partition::{ByCredentials, OnePartition},
    route::{Route, seconds},
    service::HttpCache,
    settings::{Collapse, Core, InBackground, Settings},
    store::Store,
};
use crate::Background;

/// Caches responses, as RFC 9111 has it.
///
/// See the [crate documentation](crate) for an example. Clones, and the services
/// of repeated [`layer`](Layer::layer) calls, share the store, and fetch together
/// what they are asked for at the same time.
///
/// It belongs above everything that a hit should not have to do: retries,
/// breakers, limits. Above what adds credentials it only belongs where requests
/// carry an [`Identity`](palisade_core::Identity) or a
/// [`CachePartition`](crate::CachePartition), for it does not see whose they are.
#[must_use]
pub struct HttpCacheLayer<T, P = ByCredentials, K = Unread> {
    core: Arc<Core<T>>,
    partition: P,
    bodies: K,
}

impl<T: Store> HttpCacheLayer<T> {
    /// A private cache: it stores what is for one user, and keeps users apart by
    /// their credentials.
    pub fn private(store: T) -> Self {
        let core = Arc::new(Core::new(store, Settings::new(false)));
        Self { core, partition: ByCredentials::default(), bodies: Unread }
    }
}

impl<T: Store> HttpCacheLayer<T, OnePartition> {
    /// A shared cache: what it stores is for all. It does not store what is
    /// `private`, what was asked for with `Authorization`, or what sets cookies,
    /// unless the response says that it may.
    pub fn shared(store: T) -> Self {
        let core = Arc::new(Core::new(store, Settings::new(true)));
        Self { core, partition: OnePartition, bodies: Unread }
    }
}

impl<T: Store, P, K> HttpCacheLayer<T, P, K> {
    /// Sets for how long a stale response is served while it is revalidated, if
    /// it does not say so itself. Defaults to not at all.
    ///
    /// Without an [`background`](Self::background), requests wait for that.
    pub fn stale_while_revalidate(self, window: Duration) -> Self {
        self.set(|settings| settings.stale_while_revalidate = seconds(window))
    }

    /// Sets for how long a stale response is served in place of an error or of a
    /// 500, 502, 503 or 504, if it does not say so itself. Defaults to not at
    /// all.
    ///
    /// It is never served where the response forbids it, as by
    /// `must-revalidate`, nor to a request that it is not for.
    pub fn stale_if_error(self, window: Duration) -> Self {
        self.set(|settings| settings.stale_if_error = seconds(window))
    }

    /// Sets whether requests for the same thing are sent as one. Defaults to
    /// [`Collapse::default`].
    pub fn collapse(self, collapse: Collapse) -> Self {
        self.set(|settings| settings.collapse = collapse)
    }

    /// Adds what holds for some requests. Of several the first that matches
    /// counts.
    pub fn route(self, route: Route) -> Self {
        self.set(|settings| settings.routes.push(route))
    }

    /// Sets whether `Set-Cookie` is stored. Defaults to yes in a private cache,
    /// and to no in a shared one, which does not store a response that has it
    /// unless it is `public`.
    pub fn store_cookies(self, store: bool) -> Self {
        self.set(|settings| settings.set_cookie = store)
    }

    /// Sets the name by which responses say in `Cache-Status`, RFC 9211, what was
    /// done. Defaults to none: they do not say it.
    ///
    /// `detail` tells why a response is not stored, but not of those that go by for a
    /// second after one that said so. `key` is never told: it would show what tells
    /// users apart. What the cache answers by itself, a 502 or a 504, says nothing.
    pub fn cache_status(self, name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        self.set(|settings| settings.name = Some(name))
    }

    /// Sets who runs revalidations for which nobody waits. Defaults to nobody.
    ///
    /// ```
    /// use palisade_cache::{HttpCacheLayer, MemoryStore, background_fn};
    ///
    /// let background = background_fn(|task| drop(tokio::spawn(task)));
    /// let layer = HttpCacheLayer::private(MemoryStore::new(1 << 20)).background(background);
    /// # let _ = layer;
    /// ```
    pub fn background(self, background: impl Background + Send + Sync + 'static) -> Self {
        let background: InBackground = Arc::new(background);
        self.set(|settings| settings.background = Some(background))
    }

    /// Sets who is told what was done with requests. Defaults to nobody. It must
    /// not panic.
    pub fn observer(self, observer: Arc<dyn Observer>) -> Self {
        self.set(|settings| settings.observer = observer.into())
    }

    /// Sets the clock that dates are compared with. Defaults to that of the
    /// operating system.
    pub fn clock(self, clock: Arc<dyn WallClock>) -> Self {
        self.set(|settings| settings.clock = clock)
    }

    /// Sets which requests are kept apart, where they carry no
    /// [`CachePartition`](crate::CachePartition) themselves. Defaults to
    /// [`ByCredentials`] in a private cache, and to [`OnePartition`] in a shared
    /// one.
    pub fn partition<R>(self, partition: R) -> HttpCacheLayer<T, R, K> {
        HttpCacheLayer { core: self.core, partition, bodies: self.bodies }
    }

    /// Sets which responses to POST and QUERY are stored, by what identifies the
    /// body of the request. Defaults to [`Unread`]: none of them, but for a POST
    /// whose response says that it is what GET would be answered with.
    pub fn bodies<L>(self, bodies: L) -> HttpCacheLayer<T, P, L> {
        HttpCacheLayer { core: self.core, partition: self.partition, bodies }
    }

    /// Where responses are kept.
    pub fn store(&self) -> &T {
        &self.core.store
    }

    fn set(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut core = Arc::unwrap_or_clone(self.core);
        change(&mut core.settings);
        Self { core: Arc::new(core), ..self }
    }
}

impl<T, P, K> Observed for HttpCacheLayer<T, P, K> {
    fn or_observer(self, observer: Arc<dyn Observer>) -> Self {
        self.core.settings.observer.fill(observer);
        self
    }
}

impl<T, P: Clone, K: Clone> Clone for HttpCacheLayer<T, P, K> {
    fn clone(&self) -> Self {
        let (partition, bodies) = (self.partition.clone(), self.bodies.clone());
        Self { core: Arc::clone(&self.core), partition, bodies }
    }
}

impl<T: fmt::Debug, P, K> fmt::Debug for HttpCacheLayer<T, P, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCacheLayer").field("core", &self.core).finish_non_exhaustive()
    }
}

impl<S, T, P: Clone, K: Clone> Layer<S> for HttpCacheLayer<T, P, K> {
    type Service = HttpCache<S, T, P, K>;

    fn layer(&self, inner: S) -> Self::Service {
        let (partition, bodies) = (self.partition.clone(), self.bodies.clone());
        HttpCache::new(inner, Arc::clone(&self.core), partition, bodies)
    }
}

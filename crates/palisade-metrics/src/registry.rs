use std::sync::Arc;

use http::Method;
use palisade_core::{HttpClassify, Observer};

use crate::{
    MetricsLayer, Snapshot, Window,
    clock::Clock,
    labels::{Caps, MOST},
    store::{Place, Store},
    stripes::Pointers,
};

/// Where layers count, and where the counts are read.
///
/// Clones count into the same. A registry is meant to be made once: a setter
/// makes another, which begins at nothing.
///
/// See the [crate documentation](crate) for an example.
#[derive(Clone, Debug)]
#[must_use]
pub struct Registry {
    settings: Settings,
    stores: Pointers<Store>,
}

#[derive(Clone, Debug)]
struct Settings {
    clock: Clock,
    caps: Caps,
    groups: usize,
    methods: Arc<[Method]>,
}

impl Registry {
    /// A registry that has counted nothing.
    pub fn new() -> Self {
        Self::of(Settings {
            clock: Clock::system(),
            caps: Caps { endpoints: 256, authorities: 64 },
            groups: 1000,
            methods: Arc::new([
                Method::GET,
                Method::POST,
                Method::PUT,
                Method::DELETE,
                Method::HEAD,
                Method::PATCH,
                Method::OPTIONS,
                Method::CONNECT,
                Method::TRACE,
            ]),
        })
    }

    fn of(settings: Settings) -> Self {
        let store =
            Store::new(settings.clock.clone(), settings.caps, settings.groups, &settings.methods);
        Self { settings, stores: Pointers::new(store) }
    }

    fn set(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.settings;
        change(&mut settings);
        Self::of(settings)
    }

    /// Sets how many endpoints are told apart; what comes later counts as
    /// `_OTHER`. Defaults to 256, at most 16,384.
    pub fn max_endpoints(self, endpoints: usize) -> Self {
        self.set(|settings| settings.caps.endpoints = endpoints)
    }

    /// Sets how many authorities are told apart; what comes later counts as
    /// `_OTHER`. Defaults to 64, at most 16,384.
    pub fn max_authorities(self, authorities: usize) -> Self {
        self.set(|settings| settings.caps.authorities = authorities)
    }

    /// Sets how many combinations of endpoint, method and authority are told
    /// apart, at each of its layers; what comes later counts as `_OTHER`
    /// altogether. Defaults to 1000, at most 16,384.
    pub fn max_groups(self, groups: usize) -> Self {
        self.set(|settings| settings.groups = groups.min(MOST))
    }

    /// Sets which methods are told apart; others count as `_OTHER`. Defaults to
    /// those of RFC 9110 and PATCH.
    pub fn methods(self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.set(|settings| settings.methods = methods.into_iter().collect())
    }

    /// Takes times from the processor's own counter, by way of the crate
    /// [`quanta`], in place of the system's clock. Reading it takes a third of
    /// the time, and a request reads the clock three times. It goes on where
    /// tokio's time is paused.
    ///
    /// The first one to ask waits until the counter is calibrated: some
    /// milliseconds.
    #[cfg(feature = "quanta")]
    pub fn processor_clock(self) -> Self {
        self.set(|settings| settings.clock = Clock::Processor(quanta::Clock::new()))
    }

    /// A layer that counts calls as their caller sees them: put it outside of
    /// retry.
    pub fn calls<M>(&self) -> MetricsLayer<HttpClassify<M>> {
        MetricsLayer::new(Place::Calls, self.stores.clone())
    }

    /// A layer that counts what goes over the wire: put it inside of retry,
    /// next to the client.
    pub fn attempts<M>(&self) -> MetricsLayer<HttpClassify<M>> {
        MetricsLayer::new(Place::Attempts, self.stores.clone())
    }

    /// A layer that counts what a server answers. Put it around the router, or
    /// on its routes.
    ///
    /// The authority is no label here, for it is what a client makes up.
    ///
    /// ```
    /// use http::{Method, Request};
    /// use http_body_util::{BodyExt, Full};
    /// use palisade_core::{Endpoint, Typed};
    /// use palisade_metrics::{Registry, Routes};
    /// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
    ///
    /// static GET_USER: Endpoint = Endpoint::new(Method::GET, "/users/{id}");
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), BoxError> {
    /// let metrics = Registry::new();
    /// let server = ServiceBuilder::new()
    ///     .layer(metrics.served().endpoints(Routes::new([&GET_USER])))
    ///     .service(service_fn(|_: Request<Full<&'static [u8]>>| async {
    ///         Ok::<_, BoxError>(http::Response::new(Full::new(&b"hello"[..])))
    ///     }));
    /// let response = server.oneshot(Request::get("/users/7").body(Full::default())?).await?;
    /// response.into_body().collect().await?;
    /// assert_eq!(metrics.snapshot().served.endpoint("GET", "/users/{id}").status(200), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn served<M>(&self) -> MetricsLayer<HttpClassify<M>> {
        MetricsLayer::new(Place::Served, self.stores.clone())
    }

    pub(crate) fn store(&self) -> &Store {
        self.stores.mine()
    }

    /// This registry as the observer of other layers: it counts their retries,
    /// their refusals, and the states of their breakers.
    ///
    /// ```
    /// use palisade_core::{Event, Target};
    /// use palisade_metrics::Registry;
    ///
    /// let metrics = Registry::new();
    /// let observer = metrics.observer();
    /// // A layer is given the observer, and gives up a call.
    /// # use palisade_core::{Cause, ErrorKind, Outcome};
    /// # let cause = Cause::new(Outcome::Transient, Err(ErrorKind::Timeout));
    /// # let delay = std::time::Duration::ZERO;
    /// # observer.on_event(Target::default(), &Event::GaveUp { attempts: 3, delay, reason: "attempts", cause });
    /// let events = metrics.snapshot().events;
    /// assert_eq!((&*events[0].event, &*events[0].reason), ("gave_up", "attempts"));
    /// assert_eq!(events[0].count, 1);
    /// ```
    pub fn observer(&self) -> Arc<dyn Observer> {
        Arc::new(self.clone())
    }

    /// What was counted so far. What is being counted meanwhile may be in it in
    /// part.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(self.store())
    }

    /// Reads what is counted from now on, interval by interval. There may be
    /// any number of readers; none takes anything from another.
    pub fn window(&self) -> Window {
        Window::new(self.clone())
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

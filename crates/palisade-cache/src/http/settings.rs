//! What users say of the whole cache, and what its services share.

use std::{fmt, sync::Arc, time::Duration, time::SystemTime};

use http::{Request, Uri};
use palisade_core::{Event, Head, ObserverSlot, SystemClock, Target, WallClock};

use super::{ask::Ask, flights::Flights, route::Route, status::CacheStatus};
use crate::{Background, rules::options::Options};

/// What the services of a layer share.
#[derive(Debug)]
pub(crate) struct Core<T> {
    pub(crate) store: T,
    pub(crate) settings: Settings,
    pub(crate) flights: Flights,
}

impl<T: Clone> Core<T> {
    pub(crate) fn new(store: T, settings: Settings) -> Self {
        Self { store, settings, flights: Flights::default() }
    }
}

// The requests under way are those of one layer.
impl<T: Clone> Clone for Core<T> {
    fn clone(&self) -> Self {
        Self::new(self.store.clone(), self.settings.clone())
    }
}

/// Who runs what nobody waits for.
pub(crate) type InBackground = Arc<dyn Background + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) shared: bool,
    pub(crate) set_cookie: bool,
    pub(crate) stale_while_revalidate: u32,
    pub(crate) stale_if_error: u32,
    pub(crate) routes: Vec<Route>,
    pub(crate) collapse: Collapse,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) background: Option<InBackground>,
    pub(crate) observer: ObserverSlot,
    pub(crate) clock: Arc<dyn WallClock>,
}

impl Settings {
    pub(crate) fn new(shared: bool) -> Self {
        Self {
            shared,
            set_cookie: !shared,
            stale_while_revalidate: 0,
            stale_if_error: 0,
            routes: Vec::new(),
            collapse: Collapse::default(),
            name: None,
            background: None,
            observer: ObserverSlot::default(),
            clock: Arc::new(SystemClock),
        }
    }

    pub(crate) fn route(&self, head: Head<'_>) -> Option<usize> {
        self.routes.iter().position(|route| route.matches(head))
    }

    /// The URIs under which responses to GET may be stored: a route may look at what only the
    /// request for them shows, such as its endpoint.
    pub(crate) fn keyed(&self, uri: &Uri) -> Vec<Uri> {
        let mut keyed = vec![uri.clone()];
        if self.routes.is_empty() {
            return keyed;
        }
        let mut get = Request::new(());
        uri.clone_into(get.uri_mut());
        let may = self.routes.iter().filter(|route| route.may_match(Head::of(&get)));
        for reduced in may.filter_map(|route| route.reduce(uri)) {
            if !keyed.contains(&reduced) {
                keyed.push(reduced);
            }
        }
        keyed
    }

    /// What the rules are told for a route.
    pub(crate) fn options(&self, route: Option<usize>, keyed_by_body: bool) -> Options<'_> {
        let basis = if self.shared { Options::SHARED } else { Options::PRIVATE };
        let options = Options {
            set_cookie: self.set_cookie,
            stale_while_revalidate: self.stale_while_revalidate,
            stale_if_error: self.stale_if_error,
            keyed_by_body,
            ..basis
        };
        let Some(route) = route.and_then(|route| self.routes.get(route)) else {
            return options;
        };
        Options {
            ttl: route.ttl.map(super::route::RouteTtl::rule),
            negative: &route.negative,
            vary_ignored: &route.vary_ignored,
            vary_added: &route.vary_added,
            ..options
        }
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Tells the observer, if there is one, what was done with a request.
    pub(crate) fn tell(&self, ask: &Ask, status: CacheStatus) {
        if let Some(observer) = self.observer.get() {
            observer.on_event(ask.target(), &Event::Cache { status: status.as_str() });
        }
    }

    /// The same, of a request that is there yet.
    #[inline]
    pub(crate) fn observe(&self, head: Head<'_>, status: &'static str) {
        if let Some(observer) = self.observer.get() {
            observer.on_event(Target::of(head), &Event::Cache { status });
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("shared", &self.shared)
            .field("routes", &self.routes)
            .field("collapse", &self.collapse)
            .field("observer", &self.observer)
            .finish_non_exhaustive()
    }
}

/// Whether requests for the same thing are sent as one, and for how long one
/// waits for another.
///
/// Where the inner service fails, the error goes to the request that was sent,
/// and one of those that wait for it is sent in its place. Who has waited for
/// three that failed is answered with a 504 (Gateway Timeout): as many errors as
/// requests would take as many calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Collapse {
    pub(crate) enabled: bool,
    pub(crate) timeout: Duration,
    pub(crate) remember: Duration,
}

impl Default for Collapse {
    /// Requests are collapsed, and wait for up to ten seconds.
    fn default() -> Self {
        let (timeout, remember) = (Duration::from_secs(10), Duration::from_secs(2));
        Self { enabled: true, timeout, remember }
    }
}

impl Collapse {
    /// Each request is sent by itself.
    pub fn off() -> Self {
        Self { enabled: false, ..Self::default() }
    }

    /// Sets how long a request waits for the response to another one before it
    /// is sent itself: for each of up to three, if they fail. Defaults to ten
    /// seconds.
    ///
    /// A response of which nothing has come for that long is not waited for by
    /// requests that come later.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets for how long it is remembered that a response could not be shared,
    /// so that requests for it do not wait for each other; nor are answers looked at,
    /// for half of it and at most a second, where one was not stored because it said
    /// so, whether requests are sent as one or not. Defaults to two seconds; zero is for
    /// neither.
    pub fn remember(mut self, remember: Duration) -> Self {
        self.remember = remember;
        self
    }
}

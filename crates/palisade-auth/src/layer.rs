use std::{fmt, sync::Arc};

use palisade_core::{Observed, Observer, ObserverSlot, Origins};
use tower_layer::Layer;

use crate::{Auth, Authenticator, CloneBody, ReplayBodies, SendOnce, gate::Gate};

/// Puts credentials on requests, and sends those again whose token was refused.
///
/// See the [crate documentation](crate) for an example. Clones, and the services
/// of repeated [`layer`](Layer::layer) calls, share the credentials.
#[must_use]
pub struct AuthLayer<A, M = CloneBody> {
    rules: Arc<Rules<A, M>>,
}

/// What the services of a layer share.
#[derive(Clone)]
pub(crate) struct Rules<A, M> {
    pub(crate) authenticator: A,
    pub(crate) gate: Gate,
    pub(crate) bodies: M,
    pub(crate) observer: ObserverSlot,
}

impl<A> AuthLayer<A> {
    /// Puts these credentials on requests to these origins, and nowhere else:
    /// links and redirects may lead anywhere.
    ///
    /// A redirect that is followed further in, as reqwest does by itself, is not
    /// seen here: what goes along then is decided there. Have it followed outside,
    /// or not at all.
    ///
    /// Credentials are not sent over plain http but to this machine: a request
    /// for that fails. A request that has credentials of its caller keeps those,
    /// and one with [`AuthBypass`](crate::AuthBypass) is sent as it is.
    pub fn new(authenticator: A, origins: Origins) -> Self {
        let gate = Gate::new(origins);
        let rules =
            Rules { authenticator, gate, bodies: CloneBody, observer: ObserverSlot::default() };
        Self { rules: Arc::new(rules) }
    }
}

impl<A: Clone, M: Clone> AuthLayer<A, M> {
    /// Has requests to other origins fail. By default they are sent without
    /// credentials.
    pub fn fail_outside(self) -> Self {
        self.set(|rules| rules.gate.outside_fails = true)
    }

    /// Sends credentials over plain http, too, where anybody on the way can read
    /// them: for networks that encrypt by themselves. By default that is done on
    /// this machine alone.
    pub fn allow_plain_http(self) -> Self {
        self.set(|rules| rules.gate.plain_http = true)
    }

    /// Puts these credentials in the place of those of a request's caller, who
    /// has the last word by default.
    pub fn replace_own(self) -> Self {
        self.set(|rules| rules.gate.replaces = true)
    }

    /// Sets who is told of requests that are not sent. Defaults to nobody. It
    /// must not panic.
    pub fn observer(self, observer: Arc<dyn Observer>) -> Self {
        self.set(|rules| rules.observer = observer.into())
    }

    /// Keeps bodies while they are sent, up to this number of bytes, so that a
    /// request whose token was refused can be sent again: for bodies that do not
    /// clone. A longer body is sent once. Defaults to clones of the body.
    pub fn replay(self, cap: usize) -> AuthLayer<A, ReplayBodies> {
        self.bodies(ReplayBodies::new(cap))
    }

    /// Sends each request once. If its token is refused, the answer stands; the
    /// next one gets another token. Nothing is kept of a request then.
    pub fn send_once(self) -> AuthLayer<A, SendOnce> {
        self.bodies(SendOnce)
    }

    /// The credentials.
    pub fn authenticator(&self) -> &A {
        &self.rules.authenticator
    }

    /// Puts other credentials on requests, by the same rules.
    pub fn with_authenticator<T>(self, authenticator: T) -> AuthLayer<T, M> {
        let Rules { gate, bodies, observer, .. } = Arc::unwrap_or_clone(self.rules);
        AuthLayer { rules: Arc::new(Rules { authenticator, gate, bodies, observer }) }
    }

    /// Sets how bodies are kept. Defaults to [`CloneBody`].
    pub fn bodies<T>(self, bodies: T) -> AuthLayer<A, T> {
        let Rules { authenticator, gate, observer, .. } = Arc::unwrap_or_clone(self.rules);
        AuthLayer { rules: Arc::new(Rules { authenticator, gate, bodies, observer }) }
    }

    fn set(self, change: impl FnOnce(&mut Rules<A, M>)) -> Self {
        let mut rules = Arc::unwrap_or_clone(self.rules);
        change(&mut rules);
        Self { rules: Arc::new(rules) }
    }
}

/// What becomes of its tokens is told as well.
impl<A: Authenticator, M> Observed for AuthLayer<A, M> {
    fn or_observer(self, observer: Arc<dyn Observer>) -> Self {
        self.rules.authenticator.or_observer(&observer);
        self.rules.observer.fill(observer);
        self
    }
}

impl<A, M> Clone for AuthLayer<A, M> {
    fn clone(&self) -> Self {
        Self { rules: Arc::clone(&self.rules) }
    }
}

impl<A: fmt::Debug, M: fmt::Debug> fmt::Debug for AuthLayer<A, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthLayer")
            .field("authenticator", &self.rules.authenticator)
            .field("gate", &self.rules.gate)
            .field("bodies", &self.rules.bodies)
            .field("observer", &self.rules.observer)
            .finish()
    }
}

impl<S, A, M> Layer<S> for AuthLayer<A, M> {
    type Service = Auth<S, A, M>;

    fn layer(&self, inner: S) -> Self::Service {
        Auth::new(inner, Arc::clone(&self.rules))
    }
}

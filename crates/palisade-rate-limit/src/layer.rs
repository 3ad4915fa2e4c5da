use std::{fmt, sync::Arc};

use palisade_core::{KeyBy, Observer};
use tower_layer::Layer;

use crate::{
    BackpressureLayer, Keyed, Limiter, Limiters, One, OverBurst, Quota, RateLimit, Refuse, Scope,
    Single, Template, Wait, shared::Settings,
};

/// Limits the rate of requests.
///
/// See the [crate documentation](crate) for an example. Clones, and the
/// services of repeated [`layer`](Layer::layer) calls, share their limiters; a
/// setter, and [`separate`](Self::separate), makes a layer with limiters of its
/// own.
#[must_use]
pub struct RateLimitLayer<K = Single, C = One, R = Refuse> {
    rules: Arc<Rules<K, C, R>>,
}

/// What the services of a layer share.
#[derive(Clone, Debug)]
pub(crate) struct Rules<K, C, R> {
    pub(crate) scope: K,
    pub(crate) cost: C,
    pub(crate) refusal: R,
    pub(crate) settings: Arc<Settings>,
}

impl RateLimitLayer {
    /// A limit for all requests together. Requests wait for up to 30 seconds.
    pub fn new(quota: Quota) -> Self {
        let settings = Arc::new(Settings::new(quota));
        let scope = Single::new(&Template::new(Arc::clone(&settings)));
        Self { rules: Arc::new(Rules { scope, cost: One, refusal: Refuse, settings }) }
    }
}

impl<K: Scope + Clone, C: Clone, R: Clone> RateLimitLayer<K, C, R> {
    /// Adds another quota: what is let go is within all of them, and what is
    /// not takes nothing from any.
    pub fn and(self, quota: Quota) -> Self {
        self.set(|settings| settings.others.push(quota))
    }

    /// Sets whether requests wait, and how. Defaults to [`Wait::default`].
    pub fn wait(self, wait: Wait) -> Self {
        self.set(|settings| settings.wait = wait)
    }

    /// Sets what becomes of a request that costs more than a burst. Defaults to
    /// [`OverBurst::Refuse`].
    pub fn over_burst(self, over_burst: OverBurst) -> Self {
        self.set(|settings| settings.over_burst = over_burst)
    }

    /// Holds nothing up and refuses nothing: the observer is told what would be
    /// refused, or would have to wait.
    pub fn observe_only(self) -> Self {
        self.set(|settings| settings.observe = true)
    }

    /// Sets who is told of waits, refusals and pauses. Defaults to nobody. It
    /// must not panic.
    pub fn observer(self, observer: Arc<dyn Observer>) -> Self {
        self.set(|settings| settings.observer = Some(observer))
    }

    /// The same settings, with limiters of their own.
    pub fn separate(&self) -> Self {
        self.clone().set(|_| {})
    }

    fn set(self, change: impl FnOnce(&mut Settings)) -> Self {
        let rules = Arc::unwrap_or_clone(self.rules);
        let mut settings = Settings::clone(&rules.settings);
        change(&mut settings);
        let settings = Arc::new(settings);
        let scope = rules.scope.renew(&Template::new(Arc::clone(&settings)));
        Self { rules: Arc::new(Rules { scope, settings, ..rules }) }
    }

    /// Sets how many tokens a request takes. Defaults to [`One`].
    pub fn cost<D>(self, cost: D) -> RateLimitLayer<K, D, R> {
        let Rules { scope, refusal, settings, .. } = Arc::unwrap_or_clone(self.rules);
        RateLimitLayer { rules: Arc::new(Rules { scope, cost, refusal, settings }) }
    }

    /// Has one limiter for each key instead of one for all requests:
    /// [`Keyed::by`] with its defaults; for others, hand a [`Keyed`] to
    /// [`scope`](Self::scope).
    pub fn keyed<B: KeyBy>(self, by: B) -> RateLimitLayer<Keyed<B>, C, R> {
        self.scope(Keyed::by(by))
    }

    /// Sets which limiters there are. Defaults to [`Single`].
    pub fn scope<D: Scope>(self, scope: D) -> RateLimitLayer<D, C, R> {
        let Rules { cost, refusal, settings, .. } = Arc::unwrap_or_clone(self.rules);
        let scope = scope.renew(&Template::new(Arc::clone(&settings)));
        RateLimitLayer { rules: Arc::new(Rules { scope, cost, refusal, settings }) }
    }

    /// Sets what becomes of a request that is refused. Defaults to [`Refuse`]:
    /// it fails with [`Limited`](crate::Limited).
    pub fn on_refusal<D>(self, refusal: D) -> RateLimitLayer<K, C, D> {
        let Rules { scope, cost, settings, .. } = Arc::unwrap_or_clone(self.rules);
        RateLimitLayer { rules: Arc::new(Rules { scope, cost, refusal, settings }) }
    }
}

impl<C, R> RateLimitLayer<Single, C, R> {
    /// The limiter. Take it when all is set: a setter after that makes a layer
    /// with another one.
    pub fn handle(&self) -> Limiter {
        self.rules.scope.limiter().clone()
    }
}

impl RateLimitLayer {
    /// Makes services that are not ready until there is a token, instead of
    /// requests that wait: for what looks for another service that is ready.
    pub fn backpressure(self) -> BackpressureLayer {
        BackpressureLayer::new(self.handle())
    }
}

impl<B: KeyBy, Q, C, R> RateLimitLayer<Keyed<B, Q>, C, R> {
    /// The limiters. Take them when all is set: a setter after that makes a
    /// layer with others.
    pub fn limiters(&self) -> Limiters<B> {
        Limiters::of(&self.rules.scope)
    }
}

impl<K, C, R> Clone for RateLimitLayer<K, C, R> {
    fn clone(&self) -> Self {
        Self { rules: Arc::clone(&self.rules) }
    }
}

impl<K: fmt::Debug, C: fmt::Debug, R: fmt::Debug> fmt::Debug for RateLimitLayer<K, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer").field("rules", &self.rules).finish()
    }
}

impl<S, K, C, R> Layer<S> for RateLimitLayer<K, C, R> {
    type Service = RateLimit<S, K, C, R>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit::new(inner, Arc::clone(&self.rules))
    }
}

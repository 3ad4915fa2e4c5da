use std::{fmt, sync::Arc, time::Duration};

use palisade_core::{Classify, HttpClassify, KeyBy, Observed, Observer, Outcome};
use palisade_settings::{Random, Schedule};
use tokio::sync::Notify;
use tower_layer::Layer;

use crate::{
    AtBodyEnd, AtHead, BackpressureLayer, Breakers, CircuitBreaker, CircuitBreakerHandle,
    GateLayer, HalfOpen, Keyed, OnCancel, Refuse, Scope, Single, Template, Trip,
    settings::Settings,
};

/// Stops calling a service that fails.
///
/// See the [crate documentation](crate) for an example. Clones, and the
/// services of repeated [`layer`](Layer::layer) calls, share their breakers; a
/// setter, and [`separate`](Self::separate), makes a layer with breakers of its
/// own.
#[must_use]
pub struct CircuitBreakerLayer<C = ErrorsFail, K = Single, R = Refuse, P = AtHead> {
    rules: Arc<Rules<C, K, R, P>>,
}

/// What the services of a layer share.
//
// Calls count their pointers to it, and read it: not from the cache line of that count.
#[derive(Clone, Debug)]
#[repr(align(128))]
pub(crate) struct Rules<C, K, R, P> {
    pub(crate) classify: C,
    pub(crate) scope: K,
    pub(crate) refusal: R,
    pub(crate) record: P,
    settings: Arc<Settings>,
}

impl CircuitBreakerLayer {
    /// A breaker for services of any kind, which every error counts against, and
    /// no response. For HTTP, where a response may be a failure, take
    /// [`http`](CircuitBreakerLayer::http).
    pub fn new(trip: Trip) -> Self {
        Self::of(ErrorsFail, trip)
    }
}

impl<M> CircuitBreakerLayer<HttpClassify<M>> {
    /// The rules for HTTP: [`HttpClassify`], [`Trip::default`],
    /// [`HalfOpen::default`].
    ///
    /// The service says what `M` is. Where none does, since a handle is all that is
    /// taken, or [`classify`](CircuitBreakerLayer::classify) follows, write
    /// `CircuitBreakerLayer::<HttpClassify>::http()`, or `HttpClassify<Boxed>` where
    /// errors are boxed.
    pub fn http() -> Self {
        Self::of(HttpClassify::new(), Trip::default())
    }
}

impl<C> CircuitBreakerLayer<C> {
    fn of(classify: C, trip: Trip) -> Self {
        let settings = Arc::new(Settings::new(trip));
        let scope = Single::new(&Template::new(Arc::clone(&settings)));
        let rules = Rules { classify, scope, refusal: Refuse, record: AtHead, settings };
        Self { rules: Arc::new(rules) }
    }
}

/// What opens a breaker, and what closes it.
impl<C: Clone, K: Scope + Clone, R: Clone, P: Clone> CircuitBreakerLayer<C, K, R, P> {
    /// Sets what opens a breaker. Defaults to [`Trip::default`] for HTTP.
    pub fn trip(self, trip: Trip) -> Self {
        self.set(|settings| settings.trip(trip))
    }

    /// Sets how long a breaker stays open, in whole milliseconds, rounded up:
    /// the first delay of the schedule the first time, the second if it opens
    /// again without having closed, and so on. Defaults to 5 seconds, doubled
    /// up to 60, with [equal jitter](crate::Jitter::Equal).
    ///
    /// A [`Backoff`](crate::Backoff) has full jitter unless it is told otherwise, by
    /// which a breaker may be open for next to no time: say `Jitter::Equal`, or
    /// `Jitter::None` where it is to be exact.
    ///
    /// The schedule is asked as calls end or are dropped, so it must neither
    /// panic nor ask the breaker for a call.
    ///
    /// ```
    /// use std::time::Duration;
    /// use palisade_circuit_breaker::{Backoff, CircuitBreakerLayer, Jitter, Trip};
    ///
    /// let open_for = Backoff::exponential(Duration::from_secs(1)).max(Duration::from_secs(30));
    /// let layer = CircuitBreakerLayer::new(Trip::consecutive(5))
    ///     .open_for(open_for.jitter(Jitter::Equal));
    /// # let _ = layer;
    /// ```
    pub fn open_for(self, schedule: impl Schedule + Send + Sync + 'static) -> Self {
        self.set(|settings| settings.open_for = Arc::new(schedule))
    }

    /// Sets how long a breaker stays open at most because the response that
    /// opened it [asked](Classify::retry_after) for more than the schedule
    /// says, as by `Retry-After`; zero to ignore what it asks. Defaults to 60
    /// seconds.
    pub fn retry_after(self, longest: Duration) -> Self {
        self.set(|settings| settings.longest_hint = longest)
    }

    /// Sets how a breaker that was open finds out whether the service works
    /// again. Defaults to [`HalfOpen::default`].
    pub fn half_open(self, half_open: HalfOpen) -> Self {
        self.set(|settings| settings.half_open = half_open)
    }

    /// Sets how long it takes until all calls are admitted again once the
    /// service has recovered: a tenth of them at first, and more with time.
    /// Defaults to zero: all at once. A year at most.
    pub fn ramp_up(self, ramp_up: Duration) -> Self {
        self.set(|settings| settings.ramp_up = ramp_up.min(YEAR))
    }

    /// Sets what counts when a call is dropped before it has ended. Defaults to
    /// [`OnCancel::Ignore`].
    ///
    /// Where timeouts are set outside of the breaker, a service that hangs is
    /// seen only with [`OnCancel::FailureAfter`].
    pub fn on_cancel(self, on_cancel: OnCancel) -> Self {
        self.set(|settings| settings.on_cancel = on_cancel)
    }

    /// Begins without refusing anything: the observer is told what would be
    /// refused. See [`observe_only`](CircuitBreakerHandle::observe_only).
    pub fn observe_only(self) -> Self {
        self.set(|settings| settings.observe = true)
    }

    /// Sets who is told of changes and refusals. Defaults to nobody. It is told
    /// as calls begin, end or are dropped, so it must not panic.
    pub fn observer(self, observer: Arc<dyn Observer>) -> Self {
        self.set(|settings| settings.observer = observer.into())
    }

    /// Fixes the sequence of random numbers, for tests. Defaults to one that no
    /// other process shares.
    pub fn seed(self, seed: u64) -> Self {
        self.set(|settings| settings.random = Arc::new(Random::seeded(seed)))
    }

    /// The same settings, with breakers of their own.
    pub fn separate(&self) -> Self {
        self.clone().set(|_| {})
    }

    fn set(self, change: impl FnOnce(&mut Settings)) -> Self {
        let rules = Arc::unwrap_or_clone(self.rules);
        let mut settings = Settings::clone(&rules.settings);
        change(&mut settings);
        // Who waits for one layer's breakers is not woken by another's.
        settings.changed = Arc::new(Notify::new());
        let settings = Arc::new(settings);
        let scope = rules.scope.renew(&Template::new(Arc::clone(&settings)));
        Self { rules: Arc::new(Rules { scope, settings, ..rules }) }
    }
}

/// Strategies.
impl<C: Clone, K: Scope + Clone, R: Clone, P: Clone> CircuitBreakerLayer<C, K, R, P> {
    /// Sets what a result means. Defaults to [`HttpClassify`] for HTTP, to
    /// [`ErrorsFail`] otherwise.
    ///
    /// ```
    /// use palisade_circuit_breaker::CircuitBreakerLayer;
    /// use palisade_core::HttpClassify;
    /// # use palisade_circuit_breaker::CircuitBreaker;
    /// # use tower::Layer;
    ///
    /// // The first one is replaced, so nothing else says what it judges.
    /// let layer = CircuitBreakerLayer::<HttpClassify>::http().classify(HttpClassify::new().grpc());
    /// # let _: CircuitBreaker<(), HttpClassify> = layer.layer(());
    /// ```
    pub fn classify<D>(self, classify: D) -> CircuitBreakerLayer<D, K, R, P> {
        self.swap(|_, k, r, p| (classify, k, r, p))
    }

    /// Has one breaker for each key instead of one for all calls:
    /// [`Keyed::by`] with its defaults; to set how many there may be, hand a
    /// [`Keyed`] to [`scope`](Self::scope). In place of a handle, such a layer has
    /// [`breakers`](CircuitBreakerLayer::breakers); it does not do backpressure,
    /// as it does not know which call will come.
    ///
    /// What key a request has is not known before it comes, so an error of the
    /// inner service's readiness counts against none.
    pub fn keyed<B: KeyBy>(self, by: B) -> CircuitBreakerLayer<C, Keyed<B>, R, P> {
        self.scope(Keyed::by(by))
    }

    /// Sets which breakers there are. Defaults to [`Single`].
    pub fn scope<D: Scope>(self, scope: D) -> CircuitBreakerLayer<C, D, R, P> {
        let template = Template::new(Arc::clone(&self.rules.settings));
        self.swap(|c, _, r, p| (c, scope.renew(&template), r, p))
    }

    /// Sets what becomes of a call that is refused. Defaults to [`Refuse`]: it
    /// fails with [`Open`](crate::Open).
    pub fn on_refusal<D>(self, on_refusal: D) -> CircuitBreakerLayer<C, K, D, P> {
        self.swap(|c, k, _, p| (c, k, on_refusal, p))
    }

    /// Counts a call when the body of its response has ended. Defaults to when
    /// the response is there.
    pub fn at_body_end(self) -> CircuitBreakerLayer<C, K, R, AtBodyEnd> {
        self.swap(|c, k, r, _| (c, k, r, AtBodyEnd))
    }

    /// Puts other strategies in place of some. The breakers stay.
    fn swap<C2, K2, R2, P2>(
        self,
        change: impl FnOnce(C, K, R, P) -> (C2, K2, R2, P2),
    ) -> CircuitBreakerLayer<C2, K2, R2, P2> {
        let Rules { classify, scope, refusal, record, settings } = Arc::unwrap_or_clone(self.rules);
        let (classify, scope, refusal, record) = change(classify, scope, refusal, record);
        let rules = Rules { classify, scope, refusal, record, settings };
        CircuitBreakerLayer { rules: Arc::new(rules) }
    }
}

impl<C, K, R, P> CircuitBreakerLayer<C, K, R, P> {
    /// Makes services that refuse what these breakers are sure to refuse, and count
    /// nothing: to be put outside of what makes calls wait, where [this layer belongs
    /// inside](crate#where-to-put-it). Take it when all is set.
    ///
    /// It asks the breakers for the same key as this layer.
    pub fn gate(&self) -> GateLayer<C, K, R, P> {
        GateLayer::new(Arc::clone(&self.rules))
    }
}

impl<C, R, P> CircuitBreakerLayer<C, Single, R, P> {
    /// The breaker. Take it when all is set: a setter after that makes a layer
    /// with another breaker.
    pub fn handle(&self) -> CircuitBreakerHandle {
        self.rules.scope.breaker().clone()
    }
}

impl<C, P> CircuitBreakerLayer<C, Single, Refuse, P> {
    /// Makes services that are not ready while the breaker refuses calls,
    /// instead of refusing them.
    pub fn backpressure(self) -> BackpressureLayer<C, P> {
        BackpressureLayer::new(self.rules)
    }
}

impl<C, B: KeyBy, R, P> CircuitBreakerLayer<C, Keyed<B>, R, P> {
    /// The breakers. Take them when all is set: a setter after that makes a
    /// layer with others.
    pub fn breakers(&self) -> Breakers<B> {
        Breakers::of(self.rules.scope.clone())
    }
}

/// A breaker of a key that is there already goes on telling nothing of that key.
impl<C, K, R, P> Observed for CircuitBreakerLayer<C, K, R, P> {
    fn or_observer(self, observer: Arc<dyn Observer>) -> Self {
        self.rules.settings.observer.fill(observer);
        self
    }
}

impl<C, K, R, P> Clone for CircuitBreakerLayer<C, K, R, P> {
    fn clone(&self) -> Self {
        Self { rules: Arc::clone(&self.rules) }
    }
}

impl<C: fmt::Debug, K: fmt::Debug, R: fmt::Debug, P: fmt::Debug> fmt::Debug
    for CircuitBreakerLayer<C, K, R, P>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerLayer").field("rules", &self.rules).finish()
    }
}

impl<S, C, K, R, P> Layer<S> for CircuitBreakerLayer<C, K, R, P> {
    type Service = CircuitBreaker<S, C, K, R, P>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreaker::new(inner, Arc::clone(&self.rules))
    }
}

/// What ends a state must fit into the word that says when.
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// Every response is a success, every error a failure.
#[derive(Clone, Copy, Debug, Default)]
pub struct ErrorsFail;

impl<Res, Err> Classify<Res, Err> for ErrorsFail {
    fn classify(&self, result: Result<&Res, &Err>) -> Outcome {
        match result {
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::Failed,
        }
    }
}

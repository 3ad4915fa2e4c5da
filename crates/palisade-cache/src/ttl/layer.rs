use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use palisade_core::{Observed, Observer, ObserverSlot};
use palisade_settings::Random;
use tower_layer::Layer;

use super::{
    AnyError, ByRequest, Cache, CacheHandle, Inline, OneEach, Policy, ToAll, ToOne, Ttl, Weigh,
    freshness::Windows,
    rules::{Rules, Settings},
    shared::Shared,
    store::Bounds,
};

/// Keeps the answers of a service, of whatever kind.
///
/// See the [module's example](crate#a-cache-for-any-service). Clones, and the
/// services of repeated [`layer`](Layer::layer) calls, share what is kept; a
/// setter makes a layer with a cache of its own.
///
/// `K` is the type of the keys, `V` that of the answers, `C` that of the calls,
/// which is [`Call`](crate::Call) of the inner service and the request. The
/// service says what they are.
#[must_use]
pub struct CacheLayer<K, V, C, P = Policy> {
    rules: Arc<Rules<K, V, C, P>>,
}

impl<K: Clone + Eq + Hash, V, C> CacheLayer<K, V, C> {
    /// Keeps up to 10 000 responses, each for so long, by the requests
    /// themselves.
    pub fn new(ttl: Duration) -> Self {
        Self::of(Ttl::For(ttl))
    }

    /// Keeps up to 10 000 responses, each until there is no place for it any
    /// more, by the requests themselves: for what never changes.
    pub fn forever() -> Self {
        Self::of(Ttl::Forever)
    }

    fn of(lifetime: Ttl) -> Self {
        let policy = Policy {
            by: ByRequest,
            lifetime,
            weigh: OneEach,
            errors: ToOne,
            failures: AnyError,
            background: Inline,
        };
        let settings = Settings {
            windows: Windows::NONE,
            bounds: Bounds::entries(10_000),
            single_flight: true,
            observer: ObserverSlot::default(),
            random: Arc::new(Random::from_entropy()),
        };
        let shared = Arc::new(Shared::new(settings.bounds));
        Self { rules: Arc::new(Rules { policy, shared, settings }) }
    }
}

/// What is kept, and for how long.
impl<K: Clone + Eq + Hash, V, C, P: Clone> CacheLayer<K, V, C, P> {
    /// Sets what share of its time an answer is cut short by at most, at random,
    /// so that what was fetched at once is not fetched at once again. Defaults to
    /// 0.0; 0.1 is a tenth.
    ///
    /// # Panics
    ///
    /// If it is not in `0.0..=1.0`.
    #[track_caller]
    pub fn jitter(self, share: f64) -> Self {
        assert!((0.0..=1.0).contains(&share), "a share is between 0.0 and 1.0");
        self.set(|settings| settings.windows.jitter = share)
    }

    /// Refreshes an answer before its time is over, for one caller, and the more
    /// likely the closer the end is and the longer the call took: XFetch. 1.0 is
    /// the rule, more is earlier. Defaults to 0.0: not at all.
    ///
    /// # Panics
    ///
    /// If it is negative or no number.
    #[track_caller]
    pub fn early_refresh(self, eagerness: f64) -> Self {
        assert!(0.0 <= eagerness, "it is earlier or not at all");
        self.set(|settings| settings.windows.early = eagerness)
    }

    /// Sets how long after its time an answer is given at once, while one call
    /// for a new one is under way: in the [background](Self::background), or for
    /// the first who asks. If that fails, the answer is given all the same, and no
    /// other call is made for a second, and twice as long after each failure that
    /// follows, up to a minute. Defaults to zero.
    pub fn stale_while_revalidate(self, window: Duration) -> Self {
        self.set(|settings| settings.windows.revalidate = window)
    }

    /// Sets how long after its time an answer is given if a call for a new one
    /// [fails](Self::failures), and then without a call for a second, and twice as
    /// long after each failure that follows, up to a minute. Defaults to zero.
    pub fn stale_if_error(self, window: Duration) -> Self {
        self.set(|settings| settings.windows.on_error = window)
    }

    /// Sets whether requests that miss at the same time, by the same key, have one
    /// call between them. Defaults to true.
    pub fn single_flight(self, single: bool) -> Self {
        self.set(|settings| settings.single_flight = single)
    }

    /// Sets who is told what became of each request, as
    /// [`Event::Cache`](palisade_core::Event::Cache): `hit`, `stale`, `miss`,
    /// `collapsed`, `refreshed` or `refresh_failed`. Defaults to nobody. It must
    /// not panic.
    pub fn observer(self, observer: Arc<dyn Observer>) -> Self {
        self.set(|settings| settings.observer = observer.into())
    }

    /// Fixes the sequence of random numbers, for tests. Defaults to one that no
    /// other process shares.
    pub fn seed(self, seed: u64) -> Self {
        self.set(|settings| settings.random = Arc::new(Random::seeded(seed)))
    }

    /// Sets what one answer may weigh. What weighs more is not kept. Defaults to
    /// a sixteenth of what all may weigh. The more that is, the fewer parts there
    /// are that threads lock apart.
    pub fn max_entry_weight(self, most: u64) -> Self {
        self.set(|settings| settings.bounds.largest = Some(most))
    }

    fn set(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut rules = Arc::unwrap_or_clone(self.rules);
        change(&mut rules.settings);
        rules.shared = Arc::new(Shared::new(rules.settings.bounds));
        Self { rules: Arc::new(rules) }
    }
}

/// Strategies.
#[expect(clippy::type_complexity, reason = "each has a place of its own in the type")]
impl<K, V, C, B, T, W, R, J, X> CacheLayer<K, V, C, Policy<B, T, W, R, J, X>>
where
    K: Clone + Eq + Hash,
    B: Clone,
    T: Clone,
    W: Clone,
    R: Clone,
    J: Clone,
    X: Clone,
{
    /// Sets how many answers are kept at most. Defaults to 10 000.
    ///
    /// # Panics
    ///
    /// If that is zero.
    pub fn max_entries(self, most: u64) -> CacheLayer<K, V, C, Policy<B, T, OneEach, R, J, X>> {
        assert!(0 < most, "a cache keeps something");
        self.bounds(Bounds::entries(most)).weigh(OneEach)
    }

    /// Sets what all answers may weigh, and how each is weighed: in bytes, for
    /// one. Defaults to [`max_entries`](Self::max_entries).
    ///
    /// # Panics
    ///
    /// If the weight is zero.
    pub fn max_weight<D: Weigh<K, V>>(
        self,
        most: u64,
        weigh: D,
    ) -> CacheLayer<K, V, C, Policy<B, T, D, R, J, X>> {
        assert!(0 < most, "a cache keeps something");
        self.bounds(Bounds::weight(most)).weigh(weigh)
    }

    /// Sets which requests have the same answer. Defaults to
    /// [`ByRequest`]: those that are the same.
    pub fn key<D>(self, by: D) -> CacheLayer<K, V, C, Policy<D, T, W, R, J, X>> {
        self.swap(|_, t, w, r, j, x| (by, t, w, r, j, x))
    }

    /// Sets how long each response is kept, from when a caller takes it from the
    /// call: it is older than that if none of them was polled for a while. Defaults
    /// to what the layer was made with.
    pub fn ttl<D>(self, lifetime: D) -> CacheLayer<K, V, C, Policy<B, D, W, R, J, X>> {
        self.swap(|b, _, w, r, j, x| (b, lifetime, w, r, j, x))
    }

    /// Gives an error to everybody who waits for the call, and keeps it for so
    /// long; for [`Ttl::Never`], not at all. Errors must be `Clone`, and answers
    /// are results then, for [`max_weight`](Self::max_weight) and the
    /// [handle](Self::handle).
    ///
    /// Without this, an error goes to one caller, and another one who waits calls
    /// again. After three calls in vain everybody calls alone.
    pub fn share_errors(
        self,
        ttl: impl Into<Ttl>,
    ) -> CacheLayer<K, V, C, Policy<B, T, W, ToAll, J, X>> {
        let errors = ToAll { ttl: ttl.into() };
        self.swap(|b, t, w, _, j, x| (b, t, w, errors, j, x))
    }

    /// Sets which results are failures, in place of which an answer is given
    /// that is past its time: by [`Classify`](palisade_core::Classify), all but
    /// `Success`, `Rejected` and `Ignored`. Defaults to [`AnyError`].
    pub fn failures<D>(self, classify: D) -> CacheLayer<K, V, C, Policy<B, T, W, R, D, X>> {
        self.swap(|b, t, w, r, _, x| (b, t, w, r, classify, x))
    }

    /// Sets who gets new answers in place of those that grow old. Defaults to
    /// [`Inline`]: the caller who finds that it is time for that waits for it,
    /// and others are given the old answer meanwhile. It may be any
    /// [`Background`](crate::Background); if that does not go on, whoever asks past
    /// the time for old answers does.
    pub fn background<D>(self, background: D) -> CacheLayer<K, V, C, Policy<B, T, W, R, J, D>> {
        self.swap(|b, t, w, r, j, _| (b, t, w, r, j, background))
    }

    /// A handle of the cache. Take it when all is set: a setter after that makes
    /// a layer with another cache.
    pub fn handle(&self) -> CacheHandle<K, V>
    where
        K: Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
        C: Send + 'static,
        W: Weigh<K, V>,
        Policy<B, T, W, R, J, X>: Send + Sync + 'static,
    {
        let rules = Arc::clone(&self.rules);
        CacheHandle::new(rules)
    }

    fn bounds(self, bounds: Bounds) -> Self {
        self.set(|settings| {
            let largest = settings.bounds.largest;
            settings.bounds = Bounds { largest, ..bounds };
        })
    }

    fn weigh<D>(self, weigh: D) -> CacheLayer<K, V, C, Policy<B, T, D, R, J, X>> {
        self.swap(|b, t, _, r, j, x| (b, t, weigh, r, j, x))
    }

    /// Puts other strategies in place of some, and has a cache of its own.
    fn swap<B2, T2, W2, R2, J2, X2>(
        self,
        change: impl FnOnce(B, T, W, R, J, X) -> (B2, T2, W2, R2, J2, X2),
    ) -> CacheLayer<K, V, C, Policy<B2, T2, W2, R2, J2, X2>> {
        let Rules { policy, settings, .. } = Arc::unwrap_or_clone(self.rules);
        let Policy { by, lifetime, weigh, errors, failures, background } = policy;
        let (by, lifetime, weigh, errors, failures, background) =
            change(by, lifetime, weigh, errors, failures, background);
        let policy = Policy { by, lifetime, weigh, errors, failures, background };
        let shared = Arc::new(Shared::new(settings.bounds));
        CacheLayer { rules: Arc::new(Rules { policy, shared, settings }) }
    }
}

impl<K, V, C, P> Observed for CacheLayer<K, V, C, P> {
    fn or_observer(self, observer: Arc<dyn Observer>) -> Self {
        self.rules.settings.observer.fill(observer);
        self
    }
}

impl<K, V, C, P> Clone for CacheLayer<K, V, C, P> {
    fn clone(&self) -> Self {
        Self { rules: Arc::clone(&self.rules) }
    }
}

impl<K, V, C, P: fmt::Debug> fmt::Debug for CacheLayer<K, V, C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheLayer")
            .field("policy", &self.rules.policy)
            .field("settings", &self.rules.settings)
            .finish_non_exhaustive()
    }
}

impl<S, K, V, C, P> Layer<S> for CacheLayer<K, V, C, P> {
    type Service = Cache<S, K, V, C, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Cache::new(inner, Arc::clone(&self.rules))
    }
}

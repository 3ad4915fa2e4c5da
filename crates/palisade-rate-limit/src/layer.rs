use std::{fmt, sync::Arc};

use palisade_core::{KeyBy, Observed, Observer};
use tower_layer::Layer;

use crate::{
    Advertise, BackpressureLayer, Feedback, Keyed, Limiter, Limiters, NoDeadline, One, OverBurst,
    PassOn, Quota, RateLimit, Refuse, Scope, Settling, Single, Template, UntilDeadline, Wait,
    server::Learned, shared::Settings,
};

/// Limits the rate of requests.
///
/// See the [crate documentation](crate) for an example. Clones, and the
/// services of repeated [`layer`](Layer::layer) calls, share their limiters; a
/// setter, and [`separate`](Self::separate), makes a layer with limiters of its
/// own.
#[must_use]
pub struct RateLimitLayer<K = Single, C = One, R = Refuse, A = PassOn, D = NoDeadline> {
    rules: Arc<Rules<K, C, R, A, D>>,
}

/// What the services of a layer share.
#[derive(Clone, Debug)]
pub(crate) struct Rules<K, C, R, A, D> {
    pub(crate) scope: K,
    pub(crate) cost: C,
    pub(crate) refusal: R,
    pub(crate) answers: A,
    pub(crate) deadline: D,
    pub(crate) settings: Arc<Settings>,
}

impl RateLimitLayer {
    /// A limit for all requests together. Requests wait for up to 30 seconds.
    ///
    /// # Panics
    ///
    /// A request that has to wait needs a tokio runtime whose timer is enabled.
    pub fn new(quota: Quota) -> Self {
        let settings = Arc::new(Settings::new(quota));
        let scope = Single::new(&Template::new(Arc::clone(&settings)));
        let rules = Rules {
            scope,
            cost: One,
            refusal: Refuse,
            answers: PassOn,
            deadline: NoDeadline,
            settings,
        };
        Self { rules: Arc::new(rules) }
    }
}

impl<K: Scope + Clone, C: Clone, R: Clone, A: Clone, D: Clone> RateLimitLayer<K, C, R, A, D> {
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
    /// refused, or would have to wait. What an answer [settles](Self::settle)
    /// counts as if its tokens had been taken.
    pub fn observe_only(self) -> Self {
        self.set(|settings| settings.observe = true)
    }

    /// Sets who is told of waits, refusals and pauses. Defaults to nobody. It
    /// must not panic.
    pub fn observer(self, observer: Arc<dyn Observer>) -> Self {
        self.set(|settings| settings.observer = observer.into())
    }

    /// The same settings, with limiters of their own.
    pub fn separate(&self) -> Self {
        self.clone().set(|_| {})
    }

    fn set(self, change: impl FnOnce(&mut Settings)) -> Self {
        let rules = Arc::unwrap_or_clone(self.rules);
        let mut settings = Settings::clone(&rules.settings);
        change(&mut settings);
        settings.learned = settings.feedback.map(|feedback| Arc::new(Learned::new(feedback)));
        let settings = Arc::new(settings);
        let scope = rules.scope.renew(&Template::new(Arc::clone(&settings)));
        Self { rules: Arc::new(Rules { scope, settings, ..rules }) }
    }

    /// Sets how many tokens a request takes. Defaults to [`One`].
    pub fn cost<T>(self, cost: T) -> RateLimitLayer<K, T, R, A, D> {
        let Rules { scope, refusal, answers, deadline, settings, .. } = self.into_rules();
        RateLimitLayer::of(Rules { scope, cost, refusal, answers, deadline, settings })
    }

    /// Has no request wait beyond the [`Deadline`](palisade_core::Deadline) in
    /// its extensions: one that would have to is refused at once. Defaults to
    /// [`NoDeadline`].
    pub fn until_deadline(self) -> RateLimitLayer<K, C, R, A, UntilDeadline> {
        self.deadline(UntilDeadline)
    }

    /// Sets until when a request may wait, besides [`wait`](Self::wait). Defaults
    /// to [`NoDeadline`].
    pub fn deadline<T>(self, deadline: T) -> RateLimitLayer<K, C, R, A, T> {
        let Rules { scope, cost, refusal, answers, settings, .. } = self.into_rules();
        RateLimitLayer::of(Rules { scope, cost, refusal, answers, deadline, settings })
    }

    /// Has one limiter for each key instead of one for all requests:
    /// [`Keyed::by`] with its defaults; for others, hand a [`Keyed`] to
    /// [`scope`](Self::scope).
    pub fn keyed<B: KeyBy>(self, by: B) -> RateLimitLayer<Keyed<B>, C, R, A, D> {
        self.scope(Keyed::by(by))
    }

    /// Sets which limiters there are. Defaults to [`Single`].
    pub fn scope<T: Scope>(self, scope: T) -> RateLimitLayer<T, C, R, A, D> {
        let Rules { cost, refusal, answers, deadline, settings, .. } = self.into_rules();
        let scope = scope.renew(&Template::new(Arc::clone(&settings)));
        RateLimitLayer::of(Rules { scope, cost, refusal, answers, deadline, settings })
    }

    /// Sets what becomes of a request that is refused. Defaults to [`Refuse`]:
    /// it fails with [`Limited`](crate::Limited).
    pub fn on_refusal<T>(self, refusal: T) -> RateLimitLayer<K, C, T, A, D> {
        let Rules { scope, cost, answers, deadline, settings, .. } = self.into_rules();
        RateLimitLayer::of(Rules { scope, cost, refusal, answers, deadline, settings })
    }

    /// Lets nothing go, besides, that the server would refuse by what it says
    /// of its limits. Defaults to no learning.
    pub fn learn<L: Clone>(
        self,
        feedback: Feedback<L>,
    ) -> RateLimitLayer<K, C, R, (A, Feedback<L>), D> {
        let settings = feedback.settings;
        self.set(|known| known.feedback = Some(settings)).answered(feedback)
    }

    /// Charges or refunds the difference when an answer says what a request cost
    /// in truth: see [`settle_fn`](crate::settle_fn). Defaults to nothing.
    pub fn settle<T>(self, settle: T) -> RateLimitLayer<K, C, R, (A, Settling<T>), D> {
        self.answered(Settling(settle))
    }

    /// Writes `RateLimit` and `RateLimit-Policy` into all answers, so that
    /// clients can keep to the quota: see [`Advertise`]. Defaults to refusals
    /// alone, as [`Limited::response`](crate::Limited::response) has it.
    pub fn advertise(self) -> RateLimitLayer<K, C, R, (A, Advertise), D> {
        self.answered(Advertise)
    }

    /// Adds what is done with answers, after what is done with them before.
    pub fn answered<T>(self, more: T) -> RateLimitLayer<K, C, R, (A, T), D> {
        let Rules { scope, cost, refusal, answers, deadline, settings } = self.into_rules();
        let answers = (answers, more);
        RateLimitLayer::of(Rules { scope, cost, refusal, answers, deadline, settings })
    }

    fn into_rules(self) -> Rules<K, C, R, A, D> {
        Arc::unwrap_or_clone(self.rules)
    }
}

impl<K, C, R, A, D> RateLimitLayer<K, C, R, A, D> {
    fn of(rules: Rules<K, C, R, A, D>) -> Self {
        Self { rules: Arc::new(rules) }
    }
}

impl<C, R, A, D> RateLimitLayer<Single, C, R, A, D> {
    /// The limiter. Take it when all is set: a setter after that makes a layer
    /// with another one.
    pub fn handle(&self) -> Limiter {
        self.rules.scope.limiter().clone()
    }
}

impl RateLimitLayer {
    /// Makes services that are not ready until there is a token, instead of
    /// requests that wait: for what looks for another service that is ready. They
    /// wait for as long as it takes, whatever [`wait`](Self::wait) says, as a
    /// service that fails to be ready is given up for good.
    pub fn backpressure(self) -> BackpressureLayer {
        let patient = self.wait(Wait::forever().max_waiting(usize::MAX));
        BackpressureLayer::new(patient.handle())
    }
}

impl<B: KeyBy, Q, C, R, A, D> RateLimitLayer<Keyed<B, Q>, C, R, A, D> {
    /// The limiters. Take them when all is set: a setter after that makes a
    /// layer with others.
    pub fn limiters(&self) -> Limiters<B> {
        Limiters::of(&self.rules.scope)
    }
}

impl<K, C, R, A, D> Observed for RateLimitLayer<K, C, R, A, D> {
    fn or_observer(self, observer: Arc<dyn Observer>) -> Self {
        self.rules.settings.observer.fill(observer);
        self
    }
}

impl<K, C, R, A, D> Clone for RateLimitLayer<K, C, R, A, D> {
    fn clone(&self) -> Self {
        Self { rules: Arc::clone(&self.rules) }
    }
}

impl<K, C, R, A, D> fmt::Debug for RateLimitLayer<K, C, R, A, D>
where
    Rules<K, C, R, A, D>: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer").field("rules", &self.rules).finish()
    }
}

impl<S, K, C, R, A, D> Layer<S> for RateLimitLayer<K, C, R, A, D> {
    type Service = RateLimit<S, K, C, R, A, D>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit::new(inner, Arc::clone(&self.rules))
    }
}

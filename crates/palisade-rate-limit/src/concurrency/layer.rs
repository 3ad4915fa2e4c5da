use std::{fmt, sync::Arc};

use http::StatusCode;
use palisade_core::{Classify, HttpClassify, KeyBy, Observed, Observer, Outcome};
use palisade_settings::InvalidSetting;
use tower_layer::Layer;

use crate::{
    ConcurrencyLimit, ConcurrencyLimiter, ConcurrencyLimiters, Fixed, LimitAlgorithm, LimitPerKey,
    LimitScope, NoDeadline, OneLimit, Refuse, UntilBodyEnd, UntilDeadline, Wait,
};

/// Limits how many requests are in flight.
///
/// A request is in flight until the body of its response has ended, or was
/// dropped: a client that reads a hundred bodies at once has a hundred
/// connections open, however soon their heads came. What is over the limit
/// waits in line, as for a [rate](crate::RateLimitLayer).
///
/// ```
/// use std::convert::Infallible;
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Full};
/// use palisade_core::BoxError;
/// use palisade_rate_limit::ConcurrencyLimitLayer;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// // In place of a client.
/// let api = service_fn(|_: Request<String>| async {
///     Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
/// });
///
/// let limit = ConcurrencyLimitLayer::new(64);
/// let client = limit.layer(api);
///
/// let response = client.oneshot(Request::default()).await?;
/// assert_eq!(limit.handle().snapshot().in_flight, 1);
/// assert_eq!(response.into_body().collect().await?.to_bytes(), "hello");
/// assert_eq!(limit.handle().snapshot().in_flight, 0);
/// # Ok(())
/// # }
/// ```
///
/// How many are best is known to few, and not for long:
/// [`adaptive`](Self::adaptive) finds out. It then stands inside of what
/// retries, as each attempt tells something, and a pause between two would be
/// taken for a slow service; and around a timeout, as a call that is dropped
/// tells nothing.
///
/// Clones, and the services of repeated [`layer`](Layer::layer) calls, share
/// their limit; a setter, and [`separate`](Self::separate), makes a layer with a
/// limit of its own.
#[must_use]
pub struct ConcurrencyLimitLayer<
    A: LimitAlgorithm = Fixed,
    K = OneLimit,
    C = Unjudged,
    R = Refuse,
    H = UntilBodyEnd,
    U = NoDeadline,
> {
    rules: Arc<Rules<A, K, C, R, H, U>>,
}

/// What the services of a layer share.
#[derive(Clone, Debug)]
pub(crate) struct Rules<A: LimitAlgorithm, K, C, R, H, U> {
    pub(crate) limiter: ConcurrencyLimiter<A>,
    pub(crate) scope: K,
    pub(crate) classify: C,
    pub(crate) refusal: R,
    pub(crate) hold: H,
    pub(crate) deadline: U,
}

/// Says nothing about any result: for a limit that learns nothing. The default
/// of those that are fixed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unjudged;

impl<Res, Err> Classify<Res, Err> for Unjudged {
    fn classify(&self, _: Result<&Res, &Err>) -> Outcome {
        Outcome::Ignored
    }
}

impl ConcurrencyLimitLayer {
    /// So many in flight at most, of all requests together. Requests wait for up
    /// to 30 seconds.
    ///
    /// # Panics
    ///
    /// If it is zero. A request that has to wait, but [for
    /// ever](Wait::forever), needs a tokio runtime whose timer is enabled.
    #[track_caller]
    pub fn new(limit: usize) -> Self {
        Self::of(ConcurrencyLimiter::new(limit), Unjudged)
    }

    /// As [`new`](Self::new), for a value from outside.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn try_new(limit: usize) -> Result<Self, InvalidSetting> {
        Ok(Self::of(ConcurrencyLimiter::try_new(limit)?, Unjudged))
    }
}

impl<A: LimitAlgorithm, M> ConcurrencyLimitLayer<A, OneLimit, HttpClassify<M>> {
    /// As many in flight as an algorithm says, of all requests together: it
    /// learns from what [`HttpClassify`] says of results, with 503 and 504 as the
    /// only statuses of a failure, and from how long it takes until the head of a
    /// response is there. Requests wait for up to 30 seconds. Calls that are
    /// dropped tell nothing.
    ///
    /// The service says what `M` is. Before there is one, as where a handle is
    /// all that is taken, write `ConcurrencyLimitLayer::<_, _,
    /// HttpClassify>::adaptive(..)`.
    pub fn adaptive(algorithm: A) -> Self {
        // An error of the application's own, such as 500, says nothing of load.
        let overloaded = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
        let classify = HttpClassify::new().transient(overloaded);
        Self::of(ConcurrencyLimiter::adaptive(algorithm), classify)
    }
}

impl<A: LimitAlgorithm, C> ConcurrencyLimitLayer<A, OneLimit, C> {
    fn of(limiter: ConcurrencyLimiter<A>, classify: C) -> Self {
        let rules = Rules {
            limiter,
            scope: OneLimit,
            classify,
            refusal: Refuse,
            hold: UntilBodyEnd,
            deadline: NoDeadline,
        };
        Self { rules: Arc::new(rules) }
    }
}

impl<A, K, C, R, H, U> ConcurrencyLimitLayer<A, K, C, R, H, U>
where
    A: LimitAlgorithm,
    K: LimitScope + Clone,
    C: Clone,
    R: Clone,
    H: Clone,
    U: Clone,
{
    /// Sets whether requests wait, and how. Defaults to [`Wait::default`]. How
    /// long a request will have to wait is not known before: it is refused when
    /// it has waited for as long as it may.
    pub fn wait(self, wait: Wait) -> Self {
        self.set(|limiter| limiter.wait(wait))
    }

    /// Sets who is told of waits and refusals. Defaults to nobody. It must not
    /// panic.
    pub fn observer(self, observer: Arc<dyn Observer>) -> Self {
        self.set(|limiter| limiter.observer(observer))
    }

    /// The same settings, with a limit of its own.
    pub fn separate(&self) -> Self {
        self.clone().set(|limiter| limiter.another(Default::default()))
    }

    fn set(self, change: impl FnOnce(ConcurrencyLimiter<A>) -> ConcurrencyLimiter<A>) -> Self {
        let rules = Arc::unwrap_or_clone(self.rules);
        let (limiter, scope) = (change(rules.limiter), rules.scope.renew());
        Self { rules: Arc::new(Rules { limiter, scope, ..rules }) }
    }

    /// Has one limit for each key instead of one for all requests:
    /// [`LimitPerKey::by`] with its defaults; for others, hand a [`LimitPerKey`]
    /// to [`scope`](Self::scope).
    pub fn keyed<B: KeyBy>(self, by: B) -> ConcurrencyLimitLayer<A, LimitPerKey<B, A>, C, R, H, U> {
        self.scope(LimitPerKey::by(by))
    }

    /// Sets which limits there are. Defaults to [`OneLimit`].
    pub fn scope<T: LimitScope>(self, scope: T) -> ConcurrencyLimitLayer<A, T, C, R, H, U> {
        let Rules { limiter, classify, refusal, hold, deadline, .. } = self.into_rules();
        let (limiter, scope) = (limiter.another(Default::default()), scope.renew());
        ConcurrencyLimitLayer::with(Rules { limiter, scope, classify, refusal, hold, deadline })
    }

    /// Sets who judges results, for a limit that learns. Defaults to
    /// [`HttpClassify`].
    pub fn classify<T>(self, classify: T) -> ConcurrencyLimitLayer<A, K, T, R, H, U> {
        let Rules { limiter, scope, refusal, hold, deadline, .. } = self.into_rules();
        ConcurrencyLimitLayer::with(Rules { limiter, scope, classify, refusal, hold, deadline })
    }

    /// Sets what becomes of a request that is refused. Defaults to [`Refuse`]:
    /// it fails with [`Limited`](crate::Limited).
    pub fn on_refusal<T>(self, refusal: T) -> ConcurrencyLimitLayer<A, K, C, T, H, U> {
        let Rules { limiter, scope, classify, hold, deadline, .. } = self.into_rules();
        ConcurrencyLimitLayer::with(Rules { limiter, scope, classify, refusal, hold, deadline })
    }

    /// Sets until when a request is in flight. Defaults to [`UntilBodyEnd`];
    /// [`UntilHead`](crate::UntilHead) is for what is no HTTP as well.
    pub fn hold<T>(self, hold: T) -> ConcurrencyLimitLayer<A, K, C, R, T, U> {
        let Rules { limiter, scope, classify, refusal, deadline, .. } = self.into_rules();
        ConcurrencyLimitLayer::with(Rules { limiter, scope, classify, refusal, hold, deadline })
    }

    /// Has no request wait beyond the [`Deadline`](palisade_core::Deadline) in
    /// its extensions. Defaults to [`NoDeadline`].
    pub fn until_deadline(self) -> ConcurrencyLimitLayer<A, K, C, R, H, UntilDeadline> {
        let Rules { limiter, scope, classify, refusal, hold, .. } = self.into_rules();
        let deadline = UntilDeadline;
        ConcurrencyLimitLayer::with(Rules { limiter, scope, classify, refusal, hold, deadline })
    }

    fn into_rules(self) -> Rules<A, K, C, R, H, U> {
        Arc::unwrap_or_clone(self.rules)
    }
}

impl<A: LimitAlgorithm, K, C, R, H, U> ConcurrencyLimitLayer<A, K, C, R, H, U> {
    fn with(rules: Rules<A, K, C, R, H, U>) -> Self {
        Self { rules: Arc::new(rules) }
    }
}

impl<A: LimitAlgorithm, C, R, H, U> ConcurrencyLimitLayer<A, OneLimit, C, R, H, U> {
    /// The limiter. Take it when all is set: a setter after that may make a
    /// layer with another one.
    pub fn handle(&self) -> ConcurrencyLimiter<A> {
        self.rules.limiter.clone()
    }
}

impl<A: LimitAlgorithm, B: KeyBy, C, R, H, U>
    ConcurrencyLimitLayer<A, LimitPerKey<B, A>, C, R, H, U>
{
    /// The limiters. Take them when all is set: a setter after that may make a
    /// layer with others.
    pub fn limiters(&self) -> ConcurrencyLimiters<B, A> {
        ConcurrencyLimiters::of(&self.rules.scope, self.rules.limiter.clone())
    }
}

impl<A: LimitAlgorithm, K, C, R, H, U> Clone for ConcurrencyLimitLayer<A, K, C, R, H, U> {
    fn clone(&self) -> Self {
        Self { rules: Arc::clone(&self.rules) }
    }
}

impl<A, K, C, R, H, U> fmt::Debug for ConcurrencyLimitLayer<A, K, C, R, H, U>
where
    A: LimitAlgorithm,
    K: fmt::Debug,
    C: fmt::Debug,
    R: fmt::Debug,
    H: fmt::Debug,
    U: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimitLayer")
            .field("limiter", &self.rules.limiter)
            .field("scope", &self.rules.scope)
            .field("classify", &self.rules.classify)
            .field("refusal", &self.rules.refusal)
            .field("hold", &self.rules.hold)
            .field("deadline", &self.rules.deadline)
            .finish()
    }
}

impl<A: LimitAlgorithm, K, C, R, H, U> Observed for ConcurrencyLimitLayer<A, K, C, R, H, U> {
    fn or_observer(self, observer: Arc<dyn Observer>) -> Self {
        self.rules.limiter.or_observer(observer);
        self
    }
}

impl<S, A: LimitAlgorithm, K, C, R, H, U> Layer<S> for ConcurrencyLimitLayer<A, K, C, R, H, U> {
    type Service = ConcurrencyLimit<S, A, K, C, R, H, U>;

    fn layer(&self, inner: S) -> Self::Service {
        ConcurrencyLimit::new(inner, Arc::clone(&self.rules))
    }
}

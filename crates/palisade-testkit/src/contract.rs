//! The contract that every layer keeps.

mod body;
mod cancellation;
mod concurrency;
mod cost;
mod drive;
mod endurance;
mod errors;
mod instance;
mod locks;
mod message;
mod panics;
mod readiness;
mod rule;
mod sharing;
mod wakers;

use std::{fmt, future::Future, pin::Pin, time::Duration};

use http::Response;
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use self::drive::{Fixture, Verdict};
use palisade_core::BoxError;

use crate::probe::{LocalProbe, Probe, ProbeError, ProbeFuture, ProbeHandle, ProbeRequest};

pub use self::rule::{Readiness, Rule, Violation};

/// Checks a layer against the contract, over inner services with either kind of error.
///
/// The expression makes a fresh layer each time it is evaluated, so that what one check does to the state of a layer
/// (fail, panic, cancel) does not reach the next; type parameters that the inner service decides are inferred anew for
/// each kind. What it makes must put up with one failure and with a hundred cancelled calls, let 32 calls pass within
/// an hour, and work again an hour after a thousand calls of every kind, a minute apart.
///
/// Also demands, while compiling, that the layer makes a `Service` of an inner service that is neither `Send` nor
/// `Sync`. A layer that boxes or spawns what must be `Send` uses [`Contract::new`], which does not.
///
/// ```
/// use palisade_testkit::contract;
/// use tower::util::MapRequestLayer;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// contract!(MapRequestLayer::new(|request| request)).check().await;
/// # }
/// ```
#[macro_export]
macro_rules! contract {
    ($layer:expr $(,)?) => {
        $crate::Contract::new(|| $layer, || $layer).local(|| $layer)
    };
}

/// The contract of a layer: what every palisade layer promises, whatever its technique.
///
/// [`Rule`] lists the promises. Some are kept by the compiler: where the inner service is `Send`, `Sync` and `Clone`
/// and its future `Send` and `Unpin`, so must be what the layer makes (see [`Subject`]), or a contract cannot be
/// written at all.
///
/// `A` is the layer over a service that fails with [`ProbeError`], `B` the layer over one that fails with
/// [`BoxError`]; they differ only where a type parameter depends on the inner error.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use http::Response;
/// use http_body_util::Empty;
/// use palisade_testkit::{Rule, contract};
/// use tower::util::{MapRequestLayer, MapResponseLayer};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// contract!(MapRequestLayer::new(|request| request)).future_size(0).check().await;
///
/// let careless = contract!(MapResponseLayer::new(|response: Response<_>| {
///     response.map(|_| Empty::<Bytes>::new())
/// }));
/// let violations = careless.violations().await;
/// assert!(violations.iter().all(|violation| violation.rule() == Rule::Body));
/// assert_eq!(violations.len(), 2, "one for each kind of inner error");
/// # }
/// ```
#[must_use]
pub struct Contract<'a, A, B>
where
    A: Layer<Probe>,
{
    plain: Box<dyn Fn() -> A + 'a>,
    boxed: Box<dyn Fn() -> B + 'a>,
    sharing: Option<Sharing<'a, A::Service>>,
    limits: Limits,
}

type Sharing<'a, S> =
    Box<dyn Fn(S, S, ProbeHandle) -> Pin<Box<dyn Future<Output = bool> + 'a>> + 'a>;

#[derive(Clone, Copy)]
struct Limits {
    readiness: Readiness,
    allocations: u64,
    future_size: usize,
}

impl<'a, A, B> Contract<'a, A, B>
where
    A: Layer<Probe<ProbeError>, Service: Subject>,
    B: Layer<Probe<BoxError>, Service: Subject>,
{
    /// The contract of the layers that these two make; see [`contract!`](crate::contract) for the short way.
    pub fn new(plain: impl Fn() -> A + 'a, boxed: impl Fn() -> B + 'a) -> Self {
        Self {
            plain: Box::new(plain),
            boxed: Box::new(boxed),
            sharing: None,
            limits: Limits { readiness: Readiness::Forwarded, allocations: 0, future_size: 256 },
        }
    }

    /// Demands, while compiling, a `Service` even of an inner service that is neither `Send` nor `Sync`.
    pub fn local<L>(self, layer: impl Fn() -> L) -> Self
    where
        L: Layer<LocalProbe, Service: Service<ProbeRequest>>,
    {
        let _ = layer;
        self
    }

    /// Sets what the layer's readiness depends on. Defaults to [`Readiness::Forwarded`].
    pub fn readiness(mut self, readiness: Readiness) -> Self {
        self.limits.readiness = readiness;
        self
    }

    /// Sets how often a call that succeeds at once may allocate, from readiness to the last frame of the body.
    /// Defaults to 0.
    pub fn allocations(mut self, most: u64) -> Self {
        self.limits.allocations = most;
        self
    }

    /// Sets by how many bytes the response future may exceed the inner one. Defaults to 256.
    pub fn future_size(mut self, most: usize) -> Self {
        self.limits.future_size = most;
        self
    }

    /// Sets how to see that two services share their state. Defaults to a look at their allocations.
    ///
    /// No general check can see state; without this one, the contract only demands that neither `Layer::layer` nor
    /// cloning a service allocates, which catches a new `Arc` of state, but not a field that each clone has for itself.
    ///
    /// The function drives the first service into a state, with the probes doing what the handle tells them, and
    /// returns whether the second one shows it. It is called with two services made by two `layer` calls, and then
    /// with a service and its clone.
    pub fn shares<F, T>(mut self, shares: F) -> Self
    where
        F: Fn(A::Service, A::Service, ProbeHandle) -> T + 'a,
        T: Future<Output = bool> + 'a,
    {
        self.sharing =
            Some(Box::new(move |one, other, handle| Box::pin(shares(one, other, handle))));
        self
    }

    /// Checks every rule.
    ///
    /// # Panics
    ///
    /// If a rule is broken, with a sentence per violation; and unless the runtime is tokio's `current_thread` with
    /// its time paused.
    pub async fn check(self) {
        let violations = self.violations().await;
        let sentences: Vec<_> = violations.iter().map(|v| format!("\n  {v}")).collect();
        assert!(violations.is_empty(), "the layer breaks its contract:{}", sentences.concat());
    }

    /// Checks every rule and returns what was broken.
    ///
    /// Checks build on each other: after a violation of readiness, wakers or instances nothing else is looked at;
    /// errors of the body are only looked for in a body that arrives, panics only tried on a layer that can be
    /// cancelled, and a thousand calls only made where both go well.
    ///
    /// # Panics
    ///
    /// Unless the runtime is tokio's `current_thread` with its time paused.
    pub async fn violations(&self) -> Vec<Violation> {
        // Panics where time is not paused: a layer that hangs would hang the test.
        tokio::time::advance(Duration::ZERO).await;

        let mut found = self.of_kind::<_, ProbeError>("ProbeError", &*self.plain).await;
        found.extend(self.of_kind::<_, BoxError>("BoxError", &*self.boxed).await);
        if let Some(shares) = &self.sharing {
            let verdict = sharing::observe(&*self.plain, shares).await;
            found.extend(Violation::of(Rule::SharedState, "ProbeError", verdict));
        }
        found
    }

    async fn of_kind<L, E>(&self, error: &'static str, layer: &dyn Fn() -> L) -> Vec<Violation>
    where
        L: Layer<Probe<E>, Service: Subject>,
        E: From<ProbeError>,
    {
        let service = |handle: &ProbeHandle| layer().layer(handle.probe());
        let fixture = &Fixture::new(&service);
        let mut report = Report::new(error, fixture);
        let Limits { readiness, allocations, future_size } = self.limits;

        // All that follows depends on these.
        let basics = report.check(Rule::Readiness, readiness::check(fixture, readiness)).await
            && report.check(Rule::Wakers, wakers::check(fixture)).await
            && report.check(Rule::Instance, instance::check(fixture)).await;
        if !basics {
            return report.found;
        }

        let checks = concurrency::check(fixture);
        report.check(Rule::Concurrency, checks).await;
        report.check(Rule::Locks, locks::check(fixture)).await;
        report.judge(Rule::SharedState, sharing::check(layer));
        let checks = cost::allocations(fixture, allocations);
        report.check(Rule::Allocations, checks).await;
        let most = size_of::<ProbeFuture<E>>() + future_size;
        report.judge(Rule::FutureSize, cost::future_size::<L::Service>(most));

        report.check(Rule::Request, message::requests(fixture)).await;
        report.check(Rule::Response, message::responses(fixture)).await;
        report.check(Rule::Errors, errors::of_call(fixture)).await;
        if report.check(Rule::Body, body::check(fixture)).await {
            report.check(Rule::Errors, errors::of_body(fixture)).await;
        }
        let checks = cancellation::check(fixture);
        // Each does what the one before it did, and more.
        let _ = report.check(Rule::Cancellation, checks).await
            && report.check(Rule::Panics, panics::check(fixture)).await
            && report.check(Rule::Endurance, endurance::check(fixture)).await;
        report.found
    }
}

impl<A: Layer<Probe>, B> fmt::Debug for Contract<'_, A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contract").finish_non_exhaustive()
    }
}

/// A service that a contract can be checked on: all that the compiler can say of it.
///
/// Implemented for every service that is `Clone`, `Send` and `Sync`, with a future that is `Send` and `Unpin` and a
/// response body that is `Send`, all of them `'static`. Nobody implements it by hand.
pub trait Subject:
    Service<
        ProbeRequest,
        Response = Response<Self::Body>,
        Error: Into<BoxError> + Send,
        Future: Send + Unpin + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
    /// The response body.
    type Body: Body<Data: Send, Error: Into<BoxError>> + Send + 'static;
}

impl<S, B> Subject for S
where
    S: Service<
            ProbeRequest,
            Response = Response<B>,
            Error: Into<BoxError> + Send,
            Future: Send + Unpin + 'static,
        > + Clone
        + Send
        + Sync
        + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Body = B;
}

/// Collects verdicts, and the offences of the probes that were behind them.
struct Report<'a, S> {
    error: &'static str,
    fixture: &'a Fixture<'a, S>,
    found: Vec<Violation>,
}

impl<'a, S: Subject> Report<'a, S> {
    fn new(error: &'static str, fixture: &'a Fixture<'a, S>) -> Self {
        let found = Vec::new();
        Self { error, fixture, found }
    }

    /// Whether the check finds the rule kept.
    async fn check(&mut self, rule: Rule, check: impl Future<Output = Verdict>) -> bool {
        match drive::caught(check).await {
            Ok(verdict) => self.judge(rule, verdict),
            Err(panic) => self.judge(rule, Err(panic.to_string())),
        }
    }

    /// Whether the rule was kept, and none of the probes misused.
    fn judge(&mut self, rule: Rule, verdict: Verdict) -> bool {
        let before = self.found.len();
        for (rule, verdict) in [(rule, verdict), (Rule::Instance, self.fixture.misuse())] {
            self.found.extend(Violation::of(rule, self.error, verdict));
        }
        self.found.len() == before
    }
}

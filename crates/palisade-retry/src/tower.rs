use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Request, Response};
use palisade_core::{Attempt, Classify, Deadline, Event, Head, Outcome, Target};
use tokio::time::{Instant, Sleep, sleep};
use tower::retry::{
    Policy,
    backoff::{Backoff, MakeBackoff},
    budget,
};

use crate::{
    Budget, Requests, RetryLayer, Rules, Schedule, Step, Stop, attempts::Attempts, plan::Call,
};

/// Takes delays from a back-off of `tower::retry::backoff`.
///
/// ```
/// use std::time::Duration;
/// use palisade_retry::{RetryLayer, tower_backoff};
/// use tower::{retry::backoff::ExponentialBackoffMaker, util::rng::HasherRng};
/// use tower::Layer;
/// # let client = tower::service_fn(|_: http::Request<String>| async { Ok::<_, std::io::Error>(http::Response::new(String::new())) });
///
/// let (min, max) = (Duration::from_millis(50), Duration::from_secs(10));
/// let maker = ExponentialBackoffMaker::new(min, max, 0.5, HasherRng::default())?;
/// let client = RetryLayer::http().backoff(tower_backoff(maker)).layer(client);
/// # let _ = tower::ServiceExt::oneshot(client, http::Request::new(String::new()));
/// # Ok::<_, tower::retry::backoff::InvalidBackoff>(())
/// ```
pub fn tower_backoff<M>(make: M) -> TowerBackoff<M>
where
    M: MakeBackoff<Backoff: Backoff<Future = Sleep>>,
{
    TowerBackoff(Arc::new(Mutex::new(make)))
}

/// Made by [`tower_backoff`].
pub struct TowerBackoff<M>(Arc<Mutex<M>>);

impl<M> Schedule for TowerBackoff<M>
where
    M: MakeBackoff<Backoff: Backoff<Future = Sleep>>,
{
    // The maker wants `&mut self`, hence the lock around its code (rule 17).
    // A back-off of tower's goes forward only, so it goes through all steps up
    // to this one. A sleep that is not polled costs no timer.
    fn delay(&self, step: &Step) -> Duration {
        let mut backoff = self.0.lock().unwrap_or_else(PoisonError::into_inner).make_backoff();
        let sleeps = (0..step.retry).map(|_| backoff.next_backoff());
        let deadline = sleeps.last().map(|sleep| sleep.deadline());
        deadline
            .map_or(Duration::ZERO, |deadline| deadline.saturating_duration_since(Instant::now()))
    }
}

impl<M> Clone for TowerBackoff<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> fmt::Debug for TowerBackoff<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TowerBackoff(..)")
    }
}

/// Takes tickets from a budget of `tower::retry::budget`.
///
/// Such a budget takes nothing back, so a retry that is cancelled during its
/// wait stays spent.
///
/// ```
/// use std::sync::Arc;
/// use palisade_retry::{RetryLayer, tower_budget};
/// use tower::retry::budget::TpsBudget;
/// use tower::Layer;
/// # let client = tower::service_fn(|_: http::Request<String>| async { Ok::<_, std::io::Error>(http::Response::new(String::new())) });
///
/// let client = RetryLayer::http().budget(tower_budget(Arc::new(TpsBudget::default()))).layer(client);
/// # let _ = tower::ServiceExt::oneshot(client, http::Request::new(String::new()));
/// ```
pub fn tower_budget<G>(budget: Arc<G>) -> TowerBudget<G>
where
    G: budget::Budget,
{
    TowerBudget(budget)
}

/// Made by [`tower_budget`].
pub struct TowerBudget<G>(Arc<G>);

impl<G: budget::Budget> Budget for TowerBudget<G> {
    type Account = ();
    type Ticket = ();

    fn open(&self, _: Head<'_>) {
        self.0.deposit();
    }

    fn withdraw(&self, (): &()) -> Option<()> {
        self.0.withdraw().then_some(())
    }
}

impl<G> Clone for TowerBudget<G> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<G> fmt::Debug for TowerBudget<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TowerBudget(..)")
    }
}

/// The same rules for tower's own retry engine, for those who stay on it.
///
/// That engine sees no bodies, so this can neither replay nor drain them, and
/// it cannot change the first attempt, so it makes no `Idempotency-Key`. It
/// clones the request for each attempt. The attempt timeout is not applied. A
/// budget learns of a call only by its first result, so an
/// [`InFlightBudget`](crate::InFlightBudget) sees too few of them.
///
/// ```
/// use http::{Request, Response, StatusCode};
/// use palisade_retry::{Backoff, RetryLayer};
/// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let policy = RetryLayer::http().backoff(Backoff::default()).into_policy();
/// let client = ServiceBuilder::new().retry(policy).service(service_fn(|_: Request<String>| async {
///     Ok::<_, BoxError>(Response::new(()))
/// }));
/// let response = client.oneshot(Request::new(String::new())).await?;
/// assert_eq!(response.status(), StatusCode::OK);
/// # Ok(())
/// # }
/// ```
pub struct HttpPolicy<R, A = (), Tk = ()> {
    rules: Arc<R>,
    // Set when a request is first cloned; tower then clones the policy for it.
    begun: Option<Instant>,
    // Set when the first result is judged; only a call's own policy has it.
    call: Option<Attempts<A, Tk>>,
}

impl<C, Q, K, G: Budget, M, T> RetryLayer<Rules<C, Q, K, G, M, T>> {
    /// The same rules as a [`tower::retry::Policy`].
    #[expect(clippy::type_complexity, reason = "all parameters must be named")]
    pub fn into_policy(self) -> HttpPolicy<Rules<C, Q, K, G, M, T>, G::Account, G::Ticket> {
        HttpPolicy { rules: self.into_shared(), begun: None, call: None }
    }
}

impl<B, ResB, E, C, Q, K, G, M, T> Policy<Request<B>, Response<ResB>, E>
    for HttpPolicy<Rules<C, Q, K, G, M, T>, G::Account, G::Ticket>
where
    B: Clone,
    C: Classify<Response<ResB>, E>,
    Q: Requests,
    K: Schedule,
    G: Budget,
{
    type Future = Sleep;

    fn retry(
        &mut self,
        request: &mut Request<B>,
        result: &mut Result<Response<ResB>, E>,
    ) -> Option<Sleep> {
        let rules = &*self.rules;
        let begun = self.begun;
        let call = match &mut self.call {
            Some(call) => call,
            none => {
                let plan = rules.plan(request, || begun.unwrap_or_else(Instant::now))?;
                none.insert(Attempts::new(plan, rules.budget.open(Head::of(request))))
            }
        };
        let outcome = rules.classify.classify(result.as_ref());
        let target = || Target::of(Head::of(request));
        let stop = match call.plan.call(outcome) {
            Call::Return => None,
            Call::Stop(stop) => Some(stop),
            Call::Retry => match reserve(rules, call, result, outcome) {
                Err(stop) => Some(stop),
                Ok(delay) => {
                    let attempt = call.progress.attempt;
                    rules.report(result, outcome, target, |cause| Event::Retry {
                        attempt,
                        delay,
                        cause,
                    });
                    call.count(&rules.settings, request.headers_mut());
                    if call.is_new() {
                        Attempt::count_resend(request.extensions_mut());
                    }
                    if let Some(deadline) = call.plan.deadline {
                        request.extensions_mut().insert(Deadline(deadline.into_std()));
                    }
                    return Some(sleep(delay));
                }
            },
        };
        rules.finish(&call.progress, result, outcome, stop, target);
        None
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        match &mut self.call {
            Some(call) => call.spend(),
            None => {
                self.begun = None;
                self.rules.plan(request, || *self.begun.insert(Instant::now()))?;
            }
        }
        Some(request.clone())
    }
}

/// Reserves all that the next attempt needs.
fn reserve<ResB, E, C, Q, K, G, M, T>(
    rules: &Rules<C, Q, K, G, M, T>,
    call: &mut Attempts<G::Account, G::Ticket>,
    result: &Result<Response<ResB>, E>,
    outcome: Outcome,
) -> Result<Duration, Stop>
where
    K: Schedule,
    G: Budget,
{
    let delay = rules.delay(&call.plan, &call.progress, result, outcome)?;
    let ticket = call.withdraw(&rules.budget, outcome)?;
    Ok(call.wait(delay, ticket, outcome))
}

/// A policy for another call.
impl<R, A, Tk> Clone for HttpPolicy<R, A, Tk> {
    fn clone(&self) -> Self {
        Self { rules: Arc::clone(&self.rules), begun: self.begun, call: None }
    }
}

impl<R, A, Tk> fmt::Debug for HttpPolicy<R, A, Tk> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpPolicy").finish_non_exhaustive()
    }
}

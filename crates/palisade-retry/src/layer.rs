use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};
use palisade_core::{Head, HttpClassify, Observed, Observer};
use palisade_settings::{InvalidSetting, Random, literal};
use tower_layer::Layer;

use crate::{
    AttemptTimeout, Hints, ReplayBodies, Retry, Rules, WhenUnready,
    rules::{Settings, check_attempts, check_deadline, check_timeout},
};

/// Retries requests that failed in a way that may pass.
///
/// See the [crate documentation](crate) for an example. Clones, and the
/// services of repeated [`layer`](Layer::layer) calls, share the budget.
#[must_use]
pub struct RetryLayer<R = Rules> {
    // Shared with the services, so that no state is born when one is made.
    rules: Arc<R>,
}

impl<E> RetryLayer<Rules<HttpClassify<E>>> {
    /// The rules for HTTP: up to three attempts, [`HttpClassify`],
    /// [`ByMethod`](crate::ByMethod), [`Backoff`](crate::Backoff), [`TokenBudget`](crate::TokenBudget), [`Hints`].
    pub fn http() -> Self {
        Self::new(HttpClassify::new())
    }
}

impl<C> RetryLayer<Rules<C>> {
    /// As [`http`](Self::http), with another verdict on results.
    pub fn new(classify: C) -> Self {
        Self::of(Rules::new(classify))
    }
}

/// Limits.
impl<C, Q, K, G, M, T> RetryLayer<Rules<C, Q, K, G, M, T>>
where
    Rules<C, Q, K, G, M, T>: Clone,
{
    /// Sets how many times a request is sent at most, the first time included.
    /// Defaults to 3. What a layer on this side refuses was not sent, and does not
    /// count; but who sends once, waits for nothing.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn attempts(self, attempts: u32) -> Self {
        literal(self.try_attempts(attempts))
    }

    /// As [`attempts`](Self::attempts), for a value from outside.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn try_attempts(mut self, attempts: u32) -> Result<Self, InvalidSetting> {
        self.settings().attempts = check_attempts(attempts)?;
        Ok(self)
    }

    /// Sets how long after the call begins an attempt may still start. A wait
    /// that would end at the deadline or later is not begun: the answer at
    /// hand is returned at once. Defaults to none. A [`Deadline`](palisade_core::Deadline)
    /// that the request carries counts as well: the earlier one does.
    ///
    /// An attempt that is under way is not cut off, and when the next one is
    /// due, the inner service is waited for: not past the deadline after an
    /// error, but without a bound after a response, which is gone then. Put
    /// `tower::timeout::TimeoutLayer` outside to bound the whole, or see
    /// [`when_unready`](Self::when_unready).
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn deadline(self, deadline: Duration) -> Self {
        literal(self.try_deadline(deadline))
    }

    /// As [`deadline`](Self::deadline), for a value from outside.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn try_deadline(mut self, deadline: Duration) -> Result<Self, InvalidSetting> {
        self.settings().deadline = Some(check_deadline(deadline)?);
        Ok(self)
    }

    /// Sets how long after the call begins those further out give it up, where a
    /// request carries no [`Deadline`](palisade_core::Deadline) that says so: for who
    /// composes layers, as it costs less than to tell each request. It counts beside
    /// the [`deadline`](Self::deadline), the earlier one of the two. Defaults to none.
    pub fn outer_deadline(mut self, deadline: Duration) -> Self {
        self.settings().outer_deadline = Some(deadline);
        self
    }

    /// Sets how long an attempt may take, to the head of its response. One
    /// that takes longer fails with
    /// [`AttemptTimedOut`](crate::AttemptTimedOut), so the inner error type
    /// must be made from it, as a [`BoxError`](palisade_core::BoxError) can.
    /// Defaults to none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use bytes::Bytes;
    /// use http_body_util::Full;
    /// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
    /// use palisade_retry::RetryLayer;
    /// use tower::{BoxError, ServiceBuilder};
    ///
    /// let client = ServiceBuilder::new()
    ///     .layer(RetryLayer::http().attempt_timeout(Duration::from_secs(5)))
    ///     // The error of hyper's client cannot be made from a timeout.
    ///     .map_err(BoxError::from)
    ///     .service(Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>());
    /// # let _ = tower::ServiceExt::<http::Request<Full<Bytes>>>::ready_oneshot(client);
    /// ```
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn attempt_timeout(
        self,
        timeout: Duration,
    ) -> RetryLayer<Rules<C, Q, K, G, M, AttemptTimeout>> {
        literal(self.try_attempt_timeout(timeout))
    }

    /// As [`attempt_timeout`](Self::attempt_timeout), for a value from outside.
    ///
    /// # Errors
    ///
    /// If it is zero.
    #[expect(clippy::type_complexity, reason = "one parameter changes, and all must be named")]
    pub fn try_attempt_timeout(
        self,
        timeout: Duration,
    ) -> Result<RetryLayer<Rules<C, Q, K, G, M, AttemptTimeout>>, InvalidSetting> {
        let timeout = AttemptTimeout::new(check_timeout(timeout)?);
        Ok(self.swap(|c, q, k, g, m, _| (c, q, k, g, m, timeout)))
    }
}

/// Strategies.
impl<C, Q, K, G, M, T> RetryLayer<Rules<C, Q, K, G, M, T>>
where
    Rules<C, Q, K, G, M, T>: Clone,
{
    /// Sets what a result means. Defaults to [`HttpClassify`].
    ///
    /// After [`http`](RetryLayer::http) nothing would say whose errors that judges: begin
    /// with [`new`](RetryLayer::new) instead, which takes a verdict of yours.
    ///
    /// ```
    /// use http::StatusCode;
    /// use palisade_core::{HttpClassify, Outcome};
    /// use palisade_retry::RetryLayer;
    /// # use palisade_retry::{Retry, Rules};
    /// # use tower::Layer;
    ///
    /// let locked = HttpClassify::new()
    ///     .status_fn(|status, _| (status == StatusCode::LOCKED).then_some(Outcome::Transient));
    /// let layer = RetryLayer::new(locked).attempts(5);
    /// # let _: Retry<(), Rules<HttpClassify>> = layer.layer(());
    /// ```
    pub fn classify<D>(self, classify: D) -> RetryLayer<Rules<D, Q, K, G, M, T>> {
        self.swap(|_, q, k, g, m, t| (classify, q, k, g, m, t))
    }

    /// Sets which requests may be sent again. Defaults to
    /// [`ByMethod`](crate::ByMethod).
    pub fn requests<D>(self, requests: D) -> RetryLayer<Rules<C, D, K, G, M, T>> {
        self.swap(|c, _, k, g, m, t| (c, requests, k, g, m, t))
    }

    /// Sets how long to wait between attempts. Defaults to
    /// [`Backoff::default`](crate::Backoff::default): 50 milliseconds, doubled
    /// up to 10 seconds, with full jitter.
    pub fn backoff<D>(self, backoff: D) -> RetryLayer<Rules<C, Q, D, G, M, T>> {
        self.swap(|c, q, _, g, m, t| (c, q, backoff, g, m, t))
    }

    /// Sets how many retries there may be over all calls. Defaults to
    /// [`TokenBudget::default`](crate::TokenBudget::default): one in five
    /// calls, and a reserve of 100.
    pub fn budget<D>(self, budget: D) -> RetryLayer<Rules<C, Q, K, D, M, T>> {
        self.swap(|c, q, k, _, m, t| (c, q, k, budget, m, t))
    }

    /// Sets how request bodies are kept. Defaults to [`CloneBody`](crate::CloneBody).
    pub fn bodies<D>(self, bodies: D) -> RetryLayer<Rules<C, Q, K, G, D, T>> {
        self.swap(|c, q, k, g, _, t| (c, q, k, g, bodies, t))
    }

    /// Keeps up to `cap` bytes of each request body as it is read, in place of
    /// a clone: for bodies that stream, or do not clone. The inner service
    /// then takes [`ReplayBody`](palisade_body::ReplayBody). A longer body is
    /// sent once.
    pub fn replay(self, cap: usize) -> RetryLayer<Rules<C, Q, K, G, ReplayBodies, T>> {
        self.bodies(ReplayBodies::new(cap))
    }
}

/// Details.
impl<C, Q, K, G, M, T> RetryLayer<Rules<C, Q, K, G, M, T>>
where
    Rules<C, Q, K, G, M, T>: Clone,
{
    /// Sets which of the server's hints are heard. Defaults to all, up to 30
    /// seconds.
    pub fn hints(mut self, hints: Hints) -> Self {
        self.settings().hints = hints;
        self
    }

    /// Sets how many bytes of a failed response are read during the wait, so
    /// that its HTTP/1 connection can be used again; zero for none. Defaults
    /// to 16 KiB.
    ///
    /// The next attempt waits for the end of the reading for at most 50
    /// milliseconds after it is due, and not past the deadline. Responses of
    /// HTTP/2 and later are not read: their connections stay usable anyway. Nor
    /// are those of connections that close.
    pub fn drain(mut self, cap: usize) -> Self {
        self.settings().drain = cap;
        self
    }

    /// Sets what to do when the wait is over and the inner service is not
    /// ready. Defaults to [`WhenUnready::Wait`].
    pub fn when_unready(mut self, when: WhenUnready) -> Self {
        self.settings().unready = when;
        self
    }

    /// Writes the number of the attempt into this field of further attempts:
    /// 2 for the first retry. Defaults to none.
    pub fn attempt_header(mut self, name: HeaderName) -> Self {
        self.settings().attempt_header = Some(name);
        self
    }

    /// Gives each request that may be repeated only [if it is
    /// unsent](crate::Repeatable::IfUnsent) an `Idempotency-Key` of this
    /// making, one for all its attempts, and then retries it like one that is
    /// idempotent. A key that the request carries stays. Defaults to none.
    ///
    /// Only for servers that
    /// [know the field](https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/).
    pub fn idempotency_key(mut self, generate: fn(Head<'_>) -> HeaderValue) -> Self {
        self.settings().idempotency_key = Some(generate);
        self
    }

    /// Fixes the sequence of random numbers, for tests. Defaults to one that
    /// no other process shares.
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings().random = Arc::new(Random::seeded(seed));
        self
    }

    /// Sets who is told of retries. Defaults to nobody.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.settings().observer = observer.into();
        self
    }
}

impl<R> RetryLayer<R> {
    fn of(rules: R) -> Self {
        Self { rules: Arc::new(rules) }
    }

    #[cfg(feature = "tower")]
    pub(crate) fn into_shared(self) -> Arc<R> {
        self.rules
    }
}

impl<C, Q, K, G, M, T> RetryLayer<Rules<C, Q, K, G, M, T>>
where
    Rules<C, Q, K, G, M, T>: Clone,
{
    fn settings(&mut self) -> &mut Settings {
        &mut Arc::make_mut(&mut self.rules).settings
    }

    /// Puts other strategies in place of some.
    fn swap<C2, Q2, K2, G2, M2, T2>(
        self,
        change: impl FnOnce(C, Q, K, G, M, T) -> (C2, Q2, K2, G2, M2, T2),
    ) -> RetryLayer<Rules<C2, Q2, K2, G2, M2, T2>> {
        let rules = Arc::unwrap_or_clone(self.rules);
        let (classify, requests, backoff, budget, bodies, timeout) = change(
            rules.classify,
            rules.requests,
            rules.backoff,
            rules.budget,
            rules.bodies,
            rules.timeout,
        );
        RetryLayer::of(Rules {
            classify,
            requests,
            backoff,
            budget,
            bodies,
            timeout,
            settings: rules.settings,
        })
    }
}

impl<C, Q, K, G, M, T> Observed for RetryLayer<Rules<C, Q, K, G, M, T>> {
    fn or_observer(self, observer: Arc<dyn Observer>) -> Self {
        self.rules.settings.observer.fill(observer);
        self
    }
}

impl<R> Clone for RetryLayer<R> {
    fn clone(&self) -> Self {
        Self { rules: Arc::clone(&self.rules) }
    }
}

impl<R: fmt::Debug> fmt::Debug for RetryLayer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryLayer").field("rules", &self.rules).finish()
    }
}

impl<S, R> Layer<S> for RetryLayer<R> {
    type Service = Retry<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry::new(inner, Arc::clone(&self.rules))
    }
}

use std::{
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Request;
use palisade_core::{BoxError, Deadline, ErrorKind};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tower_service::Service;

use crate::Body;

/// How long one request may take, in place of what its client says: goes into the
/// request's extensions.
///
/// ```
/// use std::time::Duration;
/// use http::Request;
/// use palisade_client::{Body, Timeouts};
///
/// let slow = Timeouts::new().attempt(Duration::from_secs(120)).total(Duration::from_secs(300));
/// let request = Request::get("https://api.example/report").extension(slow).body(Body::empty())?;
/// # let _ = request;
/// # Ok::<_, http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Timeouts {
    attempt: Option<Duration>,
    total: Option<Duration>,
}

impl Timeouts {
    /// As the client says.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how long each attempt may take, to the head of its response. Defaults
    /// to what the client says; [`Duration::MAX`] is for no limit.
    pub fn attempt(mut self, limit: Duration) -> Self {
        self.attempt = Some(limit);
        self
    }

    /// Sets how long all attempts may take, with what they wait for, to the head of
    /// the response. Defaults to what the client says; [`Duration::MAX`] is for no
    /// limit.
    pub fn total(mut self, limit: Duration) -> Self {
        self.total = Some(limit);
        self
    }
}

/// What took too long: an attempt, a call, or the next piece of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut {
    what: Limited,
    limit: Duration,
}

/// What a limit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limited {
    Attempt,
    Call,
    Body,
}

impl TimedOut {
    pub(crate) fn new(what: Limited, limit: Duration) -> Self {
        Self { what, limit }
    }

    /// How long it was given.
    pub fn limit(&self) -> Duration {
        self.limit
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.limit;
        match self.what {
            Limited::Attempt => write!(f, "attempt took longer than {limit:?}"),
            Limited::Call => write!(f, "call took longer than {limit:?} in all"),
            Limited::Body => write!(f, "nothing came of the response's body for {limit:?}"),
        }
    }
}

impl Error for TimedOut {
    // What every layer reads as a timeout, without knowing this crate.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&ErrorKind::Timeout)
    }
}

/// Limits how long a service may take to answer.
#[derive(Clone)]
pub(crate) struct TimeLimit<S> {
    inner: S,
    what: Limited,
    limit: Option<Duration>,
}

impl<S> TimeLimit<S> {
    pub(crate) fn attempt(inner: S, limit: Option<Duration>) -> Self {
        Self { inner, what: Limited::Attempt, limit }
    }

    pub(crate) fn call(inner: S, limit: Option<Duration>) -> Self {
        Self { inner, what: Limited::Call, limit }
    }

    /// How long this request may take. A wish of its own is told to those further
    /// in, as they have to act before the time is over.
    fn limit(&self, request: &mut Request<Body>) -> Option<Duration> {
        if request.extensions().is_empty() {
            return self.limit;
        }
        let wish = request.extensions().get::<Timeouts>().copied().unwrap_or_default();
        if self.what == Limited::Attempt {
            return wish.attempt.or(self.limit);
        }
        let deadline = Deadline::of(request.extensions());
        if deadline.is_none() && wish.total.is_none() {
            return self.limit;
        }
        let now = Instant::now();
        let until = deadline.map(|at| Instant::from_std(at.0).saturating_duration_since(now));
        let limit = match (wish.total.or(self.limit), until) {
            (Some(limit), Some(until)) => limit.min(until),
            (one, other) => one.or(other)?,
        };
        if let Some(at) = now.checked_add(limit) {
            request.extensions_mut().insert(Deadline(at.into_std()));
        }
        Some(limit)
    }
}

impl<S> Service<Request<Body>> for TimeLimit<S>
where
    S: Service<Request<Body>, Error = BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = TimedFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let limit = self.limit(&mut request);
        TimedFuture { future: self.inner.call(request), sleep: None, what: self.what, limit }
    }
}

pin_project! {
    pub(crate) struct TimedFuture<F> {
        #[pin]
        future: F,
        // Armed when the answer is first found to be pending: one that is there at once
        // has no timer.
        #[pin]
        sleep: Option<Sleep>,
        what: Limited,
        limit: Option<Duration>,
    }
}

impl<F, T> Future for TimedFuture<F>
where
    F: Future<Output = Result<T, BoxError>>,
{
    type Output = Result<T, BoxError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(result) = this.future.poll(cx) {
            return Poll::Ready(result);
        }
        let Some(limit) = *this.limit else {
            return Poll::Pending;
        };
        if this.sleep.is_none() {
            // A limit past the end of time is none.
            let Some(end) = Instant::now().checked_add(limit) else {
                *this.limit = None;
                return Poll::Pending;
            };
            this.sleep.set(Some(sleep_until(end)));
        }
        let over = this.sleep.as_pin_mut().is_some_and(|sleep| sleep.poll(cx).is_ready());
        match over {
            true => Poll::Ready(Err(TimedOut::new(*this.what, limit).into())),
            false => Poll::Pending,
        }
    }
}

use std::{
    cell::Cell,
    error::Error,
    fmt,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Extensions, Request};
use palisade_core::{BoxError, Deadline, ErrorKind, Now};
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

/// The limit of a call is the one that its request brings, in place of the client's.
pub(crate) fn lift_total(extensions: &mut Extensions) {
    let wish: Timeouts = extensions.get().copied().unwrap_or_default();
    let total = wish.total.or(Some(Duration::MAX));
    extensions.insert(Timeouts { total, ..wish });
}

/// So is that of an attempt, where a request says how long it may take: its answer may be long in
/// coming.
pub(crate) fn lift_all(extensions: &mut Extensions) {
    lift_total(extensions);
    if let Some(wish) = extensions.get_mut::<Timeouts>() {
        wish.attempt.get_or_insert(Duration::MAX);
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
    // What a cache asks for.
    Fetch,
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
        let limit = rounded(self.limit);
        match self.what {
            Limited::Attempt => write!(f, "attempt took longer than {limit:?}"),
            Limited::Call | Limited::Fetch => write!(f, "call took longer than {limit:?} in all"),
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

/// In whole milliseconds, if it is that long: a limit that was given so is found again in what was
/// left until its deadline.
fn rounded(limit: Duration) -> Duration {
    const MILLISECOND: Duration = Duration::from_millis(1);
    match limit.subsec_nanos() % MILLISECOND.subsec_nanos() {
        0 => limit,
        _ if limit < MILLISECOND => limit,
        over => limit.saturating_add(MILLISECOND - Duration::from_nanos(over.into())),
    }
}

/// Limits how long a service may take to answer.
pub(crate) struct TimeLimit<S, T> {
    inner: S,
    what: Limited,
    limit: Option<Duration>,
    tells: bool,
    timer: PhantomData<fn() -> T>,
}

impl<S> TimeLimit<S, Sleep> {
    pub(crate) fn attempt(inner: S, limit: Option<Duration>) -> Self {
        Self { inner, what: Limited::Attempt, limit, tells: false, timer: PhantomData }
    }
}

// Boxed: it is large, and seldom armed, as that of an attempt mostly comes first.
impl<S> TimeLimit<S, Pin<Box<Sleep>>> {
    /// Tells all requests their deadline, if it `tells`.
    pub(crate) fn call(inner: S, limit: Option<Duration>, tells: bool) -> Self {
        Self { inner, what: Limited::Call, limit, tells, timer: PhantomData }
    }

    /// That of what a cache asks for, in a call or in the background.
    pub(crate) fn fetch(inner: S, limit: Option<Duration>) -> Self {
        Self { inner, what: Limited::Fetch, limit, tells: false, timer: PhantomData }
    }
}

impl<S, T> TimeLimit<S, T> {
    /// How long this request may take. A wish of its own is told to those further
    /// in, as they have to act before the time is over. What holds for all they know
    /// from the start, or are told as well: that costs allocations.
    fn limit(&self, request: &mut Request<Body>) -> Option<Duration> {
        if request.extensions().is_empty() && !self.tells {
            return self.limit;
        }
        let wish = request.extensions().get::<Timeouts>().copied().unwrap_or_default();
        if self.what == Limited::Attempt {
            return wish.attempt.or(self.limit);
        }
        let deadline = Deadline::of(request.extensions());
        if self.what == Limited::Fetch {
            // Whoever waits for it has a limit already.
            return if deadline.is_some() { None } else { wish.total.or(self.limit) };
        }
        if deadline.is_none() && wish.total.is_none() && !self.tells {
            return self.limit;
        }
        let now = Now::by(Instant::now);
        let until = deadline.map(|at| Instant::from_std(at.0).saturating_duration_since(now));
        let limit = match (wish.total.or(self.limit), until) {
            (Some(limit), Some(until)) => limit.min(until),
            (one, other) => one.or(other)?,
        };
        if let Some(at) = now.checked_add(limit) {
            request.extensions_mut().insert(Deadline(at.into_std()));
            // It is part of that, and no wish of what has another deadline, or none.
            if wish.total.is_some() {
                request.extensions_mut().insert(Timeouts { total: None, ..wish });
            }
        }
        Some(limit)
    }
}

impl<S: Clone, T> Clone for TimeLimit<S, T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), ..*self }
    }
}

impl<S, T> Service<Request<Body>> for TimeLimit<S, T>
where
    S: Service<Request<Body>, Error = BoxError>,
    T: Timer,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = TimedFuture<S::Future, T>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let limit = self.limit(&mut request);
        TimedFuture {
            future: self.inner.call(request),
            timer: None,
            what: self.what,
            limit,
            end: None,
        }
    }
}

pin_project! {
    pub(crate) struct TimedFuture<F, T> {
        #[pin]
        future: F,
        // Armed when the answer is first found to be pending: one that is there at once
        // has no timer.
        #[pin]
        timer: Option<T>,
        what: Limited,
        limit: Option<Duration>,
        // Known from when the answer was first found to be pending.
        end: Option<Instant>,
    }

    impl<F, T> PinnedDrop for TimedFuture<F, T> {
        fn drop(this: Pin<&mut Self>) {
            // Its timer wakes nobody any more.
            if this.timer.is_some() {
                ARMED.set(None);
            }
        }
    }
}

impl<F, R, T> Future for TimedFuture<F, T>
where
    F: Future<Output = Result<R, BoxError>>,
    T: Timer,
{
    type Output = Result<R, BoxError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let around = ARMED.replace(None);
        let polled = match this.what {
            Limited::Call => within_due(*this.end, || this.future.poll(cx)),
            _ => this.future.poll(cx),
        };
        let within = ARMED.replace(around);
        if polled.is_ready() {
            return polled;
        }
        let Some(limit) = *this.limit else {
            tell(within);
            return Poll::Pending;
        };
        let now = || within.map_or_else(|| Now::by(Instant::now), |armed| armed.seen);
        let end = match *this.end {
            Some(end) => end,
            // A limit past the end of time is none.
            None => match now().checked_add(limit) {
                Some(end) => *this.end.insert(end),
                None => {
                    *this.limit = None;
                    tell(within);
                    return Poll::Pending;
                }
            },
        };
        // That timer wakes this task before its own time is over: it looks again then.
        if within.is_some_and(|armed| armed.end <= end) {
            tell(within);
            return Poll::Pending;
        }
        if this.timer.is_none() {
            this.timer.set(Some(T::until(end)));
        }
        if this.timer.as_pin_mut().is_some_and(|timer| timer.poll(cx).is_ready()) {
            return Poll::Ready(Err(TimedOut::new(*this.what, limit).into()));
        }
        tell(Some(Armed { seen: end - limit, end }));
        Poll::Pending
    }
}

/// Where a timer is kept.
pub(crate) trait Timer: Future<Output = ()> {
    fn until(end: Instant) -> Self;
}

impl Timer for Sleep {
    fn until(end: Instant) -> Self {
        sleep_until(end)
    }
}

impl Timer for Pin<Box<Sleep>> {
    fn until(end: Instant) -> Self {
        Box::pin(sleep_until(end))
    }
}

/// A timer that wakes the task which is polled now.
#[derive(Clone, Copy)]
struct Armed {
    /// What time it was when it was armed.
    seen: Instant,
    end: Instant,
}

thread_local! {
    /// What limits further in have armed in the poll that is under way. To set a timer costs
    /// more than most layers do, and that of a call is of no use while that of an attempt
    /// comes first.
    static ARMED: Cell<Option<Armed>> = const { Cell::new(None) };

    /// When the call is due that is polled, if it was pending before.
    static DUE: Cell<Option<Instant>> = const { Cell::new(None) };
}

#[inline(always)]
fn within_due<R>(end: Option<Instant>, poll: impl FnOnce() -> R) -> R {
    let _around = Around(DUE.replace(end));
    poll()
}

/// When what is around it is due: that holds again, also after a panic.
struct Around(Option<Instant>);

impl Drop for Around {
    fn drop(&mut self) {
        DUE.set(self.0);
    }
}

/// When the call is due that is polled: not known of one that is polled for the first time, which
/// has all of its time left.
pub(crate) fn due() -> Option<Instant> {
    DUE.get()
}

/// Tells the limits further out of a timer, if none is known that is earlier.
fn tell(armed: Option<Armed>) {
    let Some(armed) = armed else {
        return;
    };
    if ARMED.get().is_none_or(|known| armed.end < known.end) {
        ARMED.set(Some(armed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_told_as_it_was_given() {
        for (nanos, told) in [
            (199_988_733, "200ms"),
            (200_000_000, "200ms"),
            (59_999_999_001, "60s"),
            (1_500_000, "2ms"),
            (1_500, "1.5µs"),
        ] {
            let error = TimedOut::new(Limited::Attempt, Duration::from_nanos(nanos));
            assert_eq!(error.to_string(), format!("attempt took longer than {told}"));
        }
    }
}

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use palisade_core::{Observer, ObserverSlot, Target};
use palisade_keyed::Evict;
use palisade_settings::InvalidSetting;
use tokio::time::Instant;

use crate::{
    Fixed, LimitAlgorithm, Limited, LimitedReason, Permit, Wait,
    acquire::Turn,
    clock::Clock,
    concurrency::places::{PlaceSettings, Places},
    shared::{Shared, is_alone},
};

/// A limit on requests in flight, for use without a layer; and the handle of a
/// layer's.
///
/// Clones share the limit. A setter makes another limiter, of which nothing is
/// in flight.
///
/// ```
/// use palisade_core::Outcome;
/// use palisade_rate_limit::{Aimd, ConcurrencyLimiter, Limited};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Limited> {
/// let limiter = ConcurrencyLimiter::new(2);
/// let (one, two) = (limiter.acquire().await?, limiter.acquire().await?);
/// assert!(limiter.try_acquire().is_err());
/// drop(one);
/// assert!(limiter.try_acquire().is_ok());
/// # drop(two);
///
/// // One that learns has to be told what a request came to.
/// let limiter = ConcurrencyLimiter::adaptive(Aimd::new(10));
/// let mut permit = limiter.acquire().await?;
/// permit.record(Outcome::Throttled);
/// assert_eq!(limiter.snapshot().limit, 9);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct ConcurrencyLimiter<A: LimitAlgorithm = Fixed> {
    shared: Arc<Shared<Places<A>>>,
}

/// A limiter as it is at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConcurrencySnapshot {
    /// How many may be in flight.
    pub limit: usize,
    /// How many are in flight: more than may, if the limit has shrunk.
    pub in_flight: usize,
    /// How many wait.
    pub waiting: usize,
}

impl ConcurrencyLimiter {
    /// So many in flight at most. Requests wait for up to 30 seconds.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn new(limit: usize) -> Self {
        Self::adaptive(Fixed::new(limit))
    }

    /// As [`new`](Self::new), for a value from outside.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn try_new(limit: usize) -> Result<Self, InvalidSetting> {
        Fixed::try_new(limit).map(Self::adaptive)
    }
}

impl<A: LimitAlgorithm> ConcurrencyLimiter<A> {
    /// As many in flight as an algorithm says, that learns from what is
    /// [recorded](Permit::record). Requests wait for up to 30 seconds.
    pub fn adaptive(algorithm: A) -> Self {
        let (wait, clock) = (Wait::default(), Clock::new());
        let observer = ObserverSlot::default();
        Self::of(Arc::new(PlaceSettings { algorithm, wait, observer, clock }), Target::default())
    }

    fn of(settings: Arc<PlaceSettings<A>>, target: Target<'_>) -> Self {
        Self { shared: Arc::new(Shared::new(settings, target)) }
    }

    /// Another one by the same settings, that tells the observer of this target.
    pub(crate) fn another(&self, target: Target<'_>) -> Self {
        Self::of(Arc::clone(self.shared.settings_arc()), target)
    }

    /// Sets whether requests wait, and how. Defaults to [`Wait::default`]. How
    /// long a request will have to wait is not known before: it is refused when
    /// it has waited for as long as it may.
    pub fn wait(self, wait: Wait) -> Self {
        self.set(|settings| settings.wait = wait)
    }

    /// Sets who is told of waits and refusals. Defaults to nobody. It must not
    /// panic.
    pub fn observer(self, observer: Arc<dyn Observer>) -> Self {
        self.set(|settings| settings.observer = observer.into())
    }

    pub(crate) fn or_observer(&self, observer: Arc<dyn Observer>) {
        self.shared.settings().observer.fill(observer);
    }

    fn set(self, change: impl FnOnce(&mut PlaceSettings<A>)) -> Self {
        let mut settings = PlaceSettings::clone(self.shared.settings());
        change(&mut settings);
        Self::of(Arc::new(settings), Target::default())
    }

    pub(crate) fn now(&self) -> u64 {
        self.shared.settings().clock.now()
    }

    /// A permit, if there is one and nobody waits; or else the limiter again.
    #[inline]
    pub(crate) fn into_permit(self) -> Result<Permit<A>, Self> {
        match self.shared.try_take(|| 0, 1) {
            Ok(()) => Ok(Permit::new(self.shared)),
            Err(_) => Err(self),
        }
    }

    /// The refusal of a request that may not wait; nothing, if it may.
    pub(crate) fn refusal(&self) -> Option<Limited> {
        let refused = self.shared.settings().wait.longest().is_zero();
        refused.then(|| self.refuse())
    }

    fn refuse(&self) -> Limited {
        let limited = Limited::new(LimitedReason::Exhausted, None);
        self.shared.tell_refusal(&limited, true);
        limited
    }

    /// A permit, if there is one and nobody waits for it.
    ///
    /// # Errors
    ///
    /// [`Limited`], if not.
    pub fn try_acquire(&self) -> Result<Permit<A>, Limited> {
        self.clone().into_permit().map_err(|limiter| limiter.refuse())
    }

    /// A permit, when there is one: first come, first served.
    ///
    /// # Errors
    ///
    /// The future fails with [`Limited`] at once if too many wait, when it has
    /// waited for as long as it may, and when it is sent away.
    ///
    /// # Panics
    ///
    /// To wait, the future needs a tokio runtime whose timer is enabled, unless
    /// it may wait [for ever](Wait::forever).
    pub fn acquire(&self) -> AcquirePermit<A> {
        AcquirePermit { turn: Turn::new(Arc::clone(&self.shared), 1, None) }
    }

    /// As [`acquire`](Self::acquire), for what is of no use after that moment.
    pub fn acquire_before(&self, deadline: Instant) -> AcquirePermit<A> {
        AcquirePermit { turn: Turn::new(Arc::clone(&self.shared), 1, Some(deadline)) }
    }

    /// Goes on from another limit, those who wait included. What is in flight
    /// stays there, even if it is more; zero lets nothing go until there is
    /// another limit. An algorithm that learns keeps to its bounds, and moves on
    /// from there.
    pub fn set_limit(&self, limit: usize) {
        if self.shared.limits.set_limit(limit) {
            self.shared.wake_first();
        }
    }

    /// Sends all away that wait: they are refused. Says how many there were.
    pub fn shed(&self) -> usize {
        self.shared.shed()
    }

    /// How it stands.
    pub fn snapshot(&self) -> ConcurrencySnapshot {
        ConcurrencySnapshot {
            limit: self.shared.limits.limit(),
            in_flight: self.shared.limits.in_flight(),
            waiting: self.shared.waiting(),
        }
    }
}

impl<A: LimitAlgorithm> Evict for ConcurrencyLimiter<A> {
    fn may_go(&self, _: u64) -> bool {
        // Whoever waits, is in flight, or holds a handle has a pointer of its own. What was learned
        // may be learned again; what somebody set may not.
        is_alone(&self.shared) && !self.shared.limits.was_set()
    }
}

impl<A: LimitAlgorithm> Clone for ConcurrencyLimiter<A> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<A: LimitAlgorithm> fmt::Debug for ConcurrencyLimiter<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConcurrencyLimiter").field(&self.snapshot()).finish()
    }
}

/// Waits for a permit: made by [`ConcurrencyLimiter::acquire`].
///
/// # Cancel safety
///
/// It joins the line when it is first polled. Dropped before it is ready, it
/// leaves the line, and has taken nothing. The first one in line must be polled
/// or dropped: all others wait for it.
#[must_use = "futures do nothing unless polled"]
pub struct AcquirePermit<A: LimitAlgorithm = Fixed> {
    turn: Turn<Places<A>>,
}

impl<A: LimitAlgorithm> Future for AcquirePermit<A> {
    type Output = Result<Permit<A>, Limited>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let waited = ready!(Pin::new(&mut self.turn).poll(cx))?;
        let permit = Permit::new(Arc::clone(self.turn.shared()));
        self.turn.shared().tell_wait(waited);
        Poll::Ready(Ok(permit))
    }
}

impl<A: LimitAlgorithm> fmt::Debug for AcquirePermit<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquirePermit").finish_non_exhaustive()
    }
}

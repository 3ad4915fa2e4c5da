use std::{fmt, sync::Arc, time::Duration};

use palisade_core::{ErrorKind, Event, Observer, Target};
use palisade_settings::InvalidSetting;
use tokio::time::Instant;

use crate::{
    Acquire, Begin, Heard, Limit, Limited, LimitedReason, OverBurst, Quota, Signal, Wait,
    bucket::nanos,
    fields::QuotaState,
    server::Counted,
    shared::{Settings, Shared},
    window::Pause,
};

/// A limit, for use without a layer; and the handle of a layer's.
///
/// Clones share the limit. A setter makes another limiter, with all of its
/// tokens.
///
/// ```
/// use std::time::Duration;
/// use palisade_rate_limit::{Limited, Limiter, Quota};
/// use tokio::time::Instant;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Limited> {
/// let limiter = Limiter::new(Quota::per_second(10).burst(1));
/// let start = Instant::now();
/// for _ in 0..11 {
///     limiter.acquire(1).await?;
/// }
/// assert_eq!(start.elapsed(), Duration::from_secs(1));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct Limiter {
    shared: Arc<Shared>,
}

/// A limiter as it is at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimiterSnapshot {
    /// How many tokens there are, of the quota with the fewest; nobody may be
    /// let go with them while others wait.
    pub available: u32,
    /// How many wait.
    pub waiting: usize,
    /// For how long nothing is let go, if it is paused.
    pub paused_for: Option<Duration>,
}

impl Limiter {
    /// A limiter that has let nothing go yet. Requests wait for up to 30 seconds.
    pub fn new(quota: Quota) -> Self {
        Self::of(Arc::new(Settings::new(quota)), Target::default())
    }

    pub(crate) fn of(settings: Arc<Settings>, target: Target<'_>) -> Self {
        let shares = settings.feedback.is_some_and(|feedback| feedback.share);
        let shared: Arc<Shared> = Arc::new(Shared::new(settings, target));
        if shares {
            shared.limits.server().join_all(&shared);
        }
        Self { shared }
    }

    /// Adds another quota: what is let go is within all of them, and what is
    /// not takes nothing from any.
    pub fn and(self, quota: Quota) -> Self {
        self.set(|settings| settings.others.push(quota))
    }

    /// Sets whether requests wait, and how. Defaults to [`Wait::default`].
    pub fn wait(self, wait: Wait) -> Self {
        self.set(|settings| settings.wait = wait)
    }

    /// Sets what becomes of what costs more than a burst. Defaults to
    /// [`OverBurst::Refuse`].
    pub fn over_burst(self, over_burst: OverBurst) -> Self {
        self.set(|settings| settings.over_burst = over_burst)
    }

    /// Sets who is told of waits, refusals and pauses. Defaults to nobody. It
    /// must not panic.
    pub fn observer(self, observer: Arc<dyn Observer>) -> Self {
        self.set(|settings| settings.observer = observer.into())
    }

    fn set(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.shared.settings().clone();
        change(&mut settings);
        Self::of(Arc::new(settings), Target::default())
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Takes so many tokens, if they are there and nobody waits for them.
    ///
    /// # Errors
    ///
    /// [`Limited`], if not.
    pub fn try_acquire(&self, cost: u32) -> Result<(), Limited> {
        let settings = self.shared.settings();
        let now = settings.now();
        self.shared.try_take(|| now, cost).map_err(|short| {
            let limited = self.shared.refusal(short, now, cost, LimitedReason::Exhausted);
            self.shared.tell_refusal(&limited, true);
            limited
        })
    }

    /// Takes so many tokens, and waits for them if need be: first come, first
    /// served, whatever they cost.
    ///
    /// # Errors
    ///
    /// The future fails with [`Limited`] at once if it would wait for longer
    /// than it may, or if too many wait; and when it is sent away.
    ///
    /// # Panics
    ///
    /// To wait, the future needs a tokio runtime whose timer is enabled.
    pub fn acquire(&self, cost: u32) -> Acquire {
        Acquire::new(Arc::clone(&self.shared), cost, None)
    }

    /// As [`acquire`](Self::acquire), for what is of no use after that moment.
    ///
    /// # Errors
    ///
    /// The future fails with [`Limited`] at once if it would be let go later, and
    /// as that of [`acquire`](Self::acquire) does.
    ///
    /// # Panics
    ///
    /// To wait, the future needs a tokio runtime whose timer is enabled.
    pub fn acquire_before(&self, cost: u32, deadline: Instant) -> Acquire {
        Acquire::new(Arc::clone(&self.shared), cost, Some(deadline))
    }

    /// Takes so many tokens after the fact, there or not: what comes later
    /// waits for them.
    pub fn charge(&self, cost: u32) {
        self.shared.limits.charge(self.shared.settings().now(), cost);
    }

    /// Gives so many tokens back.
    pub fn refund(&self, cost: u32) {
        self.shared.limits.refund(cost);
        self.shared.wake_first();
    }

    /// Lets nothing go for a while. A pause that ends later stays.
    pub fn pause(&self, pause: Duration) {
        self.pause_because("handle", pause);
    }

    pub(crate) fn pause_because(&self, reason: &'static str, delay: Duration) {
        let now = self.shared.settings().now();
        self.shared.limits.pause_until(now.saturating_add(nanos(delay)));
        self.shared.wake_first();
        self.shared.tell(|| Event::Paused { kind: ErrorKind::Limited, reason, delay });
    }

    /// Learns what a server says of its limit, as of now: for what stands in the
    /// bodies of answers. What headers say is [learned](crate::Feedback) by the
    /// layer.
    ///
    /// All tokens that are taken count towards it; where the layer learns as
    /// well, what it [counts](crate::Feedback::count_costs). There a report ends
    /// no pause, as it may be of any answer; where it does not, a pause just
    /// ends, and nobody has to go first.
    pub fn report(&self, signal: Signal) {
        self.hear(None, &signal.into());
    }

    pub(crate) fn hear(&self, sent: Option<Counted>, heard: &Heard<'_>) {
        let now = self.shared.settings().now();
        let (pause, opens) = self.shared.limits.server().hear(now, sent, heard, &self.shared);
        if opens {
            self.shared.wake_first();
        }
        if let Some(Pause { reason, delay }) = pause {
            let delay = Duration::from_nanos(delay);
            self.shared.tell(|| Event::Paused { kind: ErrorKind::Limited, reason, delay });
        }
    }

    /// Ends a pause, whoever it came from.
    pub fn resume(&self) {
        self.shared.limits.resume();
        self.shared.wake_first();
    }

    /// Goes by other quotas from now on, those who wait included. As many tokens
    /// stay taken, and come back as the new ones have it.
    ///
    /// # Errors
    ///
    /// If they are not as many as there were.
    pub fn retune(&self, quotas: &[Quota]) -> Result<(), InvalidSetting> {
        if quotas.len() != self.shared.limits.len() {
            return Err(InvalidSetting::new(
                "a limiter keeps the number of its quotas: hand it one for each that it was made with",
            ));
        }
        self.shared.limits.retune(self.shared.settings().now(), quotas);
        self.shared.wake_first();
        Ok(())
    }

    /// Sends all away that wait: they are refused. Says how many there were.
    pub fn shed(&self) -> usize {
        self.shared.shed()
    }

    pub(crate) fn states(&self) -> Vec<QuotaState> {
        let settings = self.shared.settings();
        self.shared.limits.states(settings, settings.now())
    }

    /// How it stands.
    pub fn snapshot(&self) -> LimiterSnapshot {
        let now = self.shared.settings().now();
        let paused = self.shared.limits.held_until(1).saturating_sub(now);
        LimiterSnapshot {
            available: self.shared.limits.there(now),
            waiting: self.shared.waiting(),
            paused_for: (paused != 0).then(|| Duration::from_nanos(paused)),
        }
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Limiter").field(&self.snapshot()).finish()
    }
}

impl Limit for Limiter {
    type Acquire = Acquire;

    #[inline]
    fn begin(&self, cost: u32) -> Begin {
        let settings = self.shared.settings();
        match self.shared.try_take(|| settings.now(), cost) {
            Ok(()) => Begin::Go,
            Err(short) => self.shared.begin_without(short, cost),
        }
    }

    fn acquire(&self, cost: u32, deadline: Option<std::time::Instant>) -> Acquire {
        Acquire::new(Arc::clone(&self.shared), cost, deadline.map(Instant::from_std))
    }

    fn give_back(&self, cost: u32) {
        self.shared.limits.give_back(cost);
        self.shared.wake_first();
    }
}

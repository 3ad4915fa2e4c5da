use std::{
    fmt,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use palisade_core::Outcome;

use crate::{
    Open, State,
    breaker::Breaker,
    ongoing::{Hold, Ongoing},
    sync::fence,
};

/// Looks at a breaker, and orders it about.
///
/// Clones are of one breaker, which lives as long as a handle, a layer or a
/// service does.
///
/// ```
/// use palisade_circuit_breaker::{CircuitBreakerLayer, State};
/// use palisade_core::HttpClassify;
///
/// let layer = CircuitBreakerLayer::<HttpClassify>::http();
/// let breaker = layer.handle();
/// assert_eq!(breaker.state(), State::Closed);
///
/// // The operators move the database.
/// breaker.force_open();
/// assert!(breaker.try_acquire().is_err());
/// breaker.reset();
/// assert_eq!(breaker.state(), State::Closed);
/// ```
#[derive(Clone)]
pub struct CircuitBreakerHandle {
    breaker: Arc<Breaker>,
}

impl CircuitBreakerHandle {
    pub(crate) fn new(breaker: Arc<Breaker>) -> Self {
        Self { breaker }
    }

    pub(crate) fn shared(&self) -> &Breaker {
        &self.breaker
    }

    /// Whether this is the only handle, and no call holds one.
    pub(crate) fn is_alone(&self) -> bool {
        let alone = Arc::strong_count(&self.breaker) == 1;
        // What the last one that was dropped has done to the breaker is seen from here on.
        fence(Ordering::Acquire);
        alone
    }

    /// The state. One whose time is over stands until a call comes.
    pub fn state(&self) -> State {
        self.breaker.word().state
    }

    /// The state, and what was counted in it: a new state begins with nothing.
    pub fn snapshot(&self) -> Snapshot {
        let view = self.breaker.view(self.breaker.settings.now());
        let probes = view.word.probes();
        let state = view.word.state;
        Snapshot {
            state,
            observed: view.word.observed,
            generation: view.word.generation,
            since: view.since,
            remaining: view.remaining,
            calls: view.counts.calls,
            failures: view.counts.failures,
            slow: view.counts.slow,
            failures_in_row: match state {
                State::Closed | State::RampUp => view.word.count,
                _ => 0,
            },
            probes_in_flight: match state {
                State::HalfOpen => probes.in_flight(),
                _ => 0,
            },
        }
    }

    /// Watches the state.
    pub fn subscribe(&self) -> StateWatch {
        StateWatch { seen: self.breaker.word().generation, handle: self.clone() }
    }

    /// Refuses all calls until [`reset`](Self::reset).
    pub fn force_open(&self) {
        self.breaker.force(State::ForcedOpen, "ordered");
    }

    /// Admits all calls and counts nothing until [`reset`](Self::reset).
    pub fn disable(&self) {
        self.breaker.force(State::Disabled, "ordered");
    }

    /// Closes the breaker, whatever its state, and forgets the calls so far.
    pub fn reset(&self) {
        self.breaker.force(State::Closed, "ordered");
    }

    /// Sets whether the breaker refuses calls, or admits all and only tells the
    /// observer which it would refuse. The state goes on as ever: this is no
    /// change of it, and nobody is told so.
    pub fn observe_only(&self, only: bool) {
        self.breaker.observe(only);
    }

    /// Asks for a call to be let in, without tower. Every [`Permit`] has to be
    /// told how its call ended.
    ///
    /// ```
    /// use palisade_circuit_breaker::{CircuitBreakerLayer, Trip};
    /// use palisade_core::Outcome;
    ///
    /// let breaker = CircuitBreakerLayer::new(Trip::consecutive(2)).handle();
    /// for _ in 0..2 {
    ///     let permit = breaker.try_acquire()?;
    ///     // The message is not delivered.
    ///     permit.record(Outcome::Failed);
    /// }
    /// assert!(breaker.try_acquire().is_err());
    /// # Ok::<_, palisade_circuit_breaker::Open>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the breaker refuses the call.
    pub fn try_acquire(&self) -> Result<Permit, Open> {
        let breaker = &*self.breaker;
        match breaker.admit(|| breaker.settings.now()) {
            Ok(token) => Ok(Permit { ongoing: Ongoing::new(self.clone(), token) }),
            Err(open) => {
                breaker.tell_refusal(&open, true);
                Err(open)
            }
        }
    }

    /// Waits until it makes sense to ask again for a call that was refused.
    pub(crate) async fn changed(&self, open: Open) {
        let settings = &self.breaker.settings;
        let mut changed = pin!(settings.changed.notified());
        changed.as_mut().enable();
        let delay = match open.reason() {
            // Each asks for its share again and again.
            crate::OpenReason::RampUp => Some(RAMP_PACE),
            // What it waits for may have happened before it was registered.
            _ if self.breaker.refusal(|| settings.now()).is_none() => return,
            _ => self.breaker.remaining(self.breaker.word(), settings.now()),
        };
        match delay {
            // Whichever comes first.
            Some(delay) => drop(tokio::time::timeout(delay, changed).await),
            None => changed.await,
        }
    }
}

/// How often who waits asks a breaker that ramps up.
const RAMP_PACE: Duration = Duration::from_millis(10);

impl Hold for CircuitBreakerHandle {
    const UNWINDS: bool = true;

    fn breaker(&self) -> Option<&Breaker> {
        Some(&self.breaker)
    }
}

impl fmt::Debug for CircuitBreakerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerHandle").field("state", &self.state()).finish()
    }
}

/// The right to one call, and the duty to say how it ended.
///
/// Dropped instead, the call counts as cancelled, as
/// [`on_cancel`](crate::CircuitBreakerLayer::on_cancel) says; dropped by a
/// panic, as failed.
#[derive(Debug)]
#[must_use = "a call that is not made should not be asked for"]
pub struct Permit {
    ongoing: Ongoing<CircuitBreakerHandle>,
}

impl Permit {
    pub(crate) fn new(ongoing: Ongoing<CircuitBreakerHandle>) -> Self {
        Self { ongoing }
    }

    /// Says how the call ended: the table of [`Outcome`].
    pub fn record(self, outcome: Outcome) {
        self.record_hint(outcome, None);
    }

    /// As [`record`](Self::record), with how long the service asks to be left
    /// alone, which counts if the breaker opens.
    pub fn record_hint(mut self, outcome: Outcome, retry_after: Option<Duration>) {
        self.ongoing.record(outcome, |_| retry_after);
    }

    /// As if dropped, but what is then no failure counts as this.
    pub(crate) fn let_go(mut self, outcome: Outcome) {
        self.ongoing.let_go(outcome);
    }

    /// The service has panicked.
    pub(crate) fn panicked(mut self) {
        self.ongoing.panicked();
    }
}

/// A breaker at one moment: in the moment of a change, partly before it and
/// partly after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The state.
    pub state: State,
    /// Whether refusals are only told, and the calls admitted.
    pub observed: bool,
    /// How many states there were before; it goes round after a billion.
    pub generation: u32,
    /// How long it has been in this state.
    pub since: Duration,
    /// How long until the state ends, if it ends by itself.
    pub remaining: Option<Duration>,
    /// How many calls the window holds.
    pub calls: u64,
    /// How many of them failed.
    pub failures: u64,
    /// How many of them were slow.
    pub slow: u64,
    /// How many calls have failed without a success in between, if that may
    /// open the breaker.
    pub failures_in_row: u32,
    /// How many calls a half-open breaker waits for.
    pub probes_in_flight: u32,
}

impl Snapshot {
    /// Which share of the calls in the window failed; nothing, if it is empty.
    pub fn failure_rate(&self) -> Option<f64> {
        self.rate(self.failures)
    }

    /// Which share of the calls in the window was slow; nothing, if it is empty.
    pub fn slow_rate(&self) -> Option<f64> {
        self.rate(self.slow)
    }

    fn rate(&self, count: u64) -> Option<f64> {
        (self.calls != 0).then(|| count as f64 / self.calls as f64)
    }
}

/// Waits for a breaker to change its state.
///
/// ```
/// use palisade_circuit_breaker::{CircuitBreakerLayer, State, Trip};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let breaker = CircuitBreakerLayer::new(Trip::consecutive(5)).handle();
/// let mut states = breaker.subscribe();
/// breaker.force_open();
/// assert_eq!(states.changed().await, State::ForcedOpen);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct StateWatch {
    handle: CircuitBreakerHandle,
    seen: u32,
}

impl StateWatch {
    /// The state now.
    pub fn state(&self) -> State {
        self.handle.state()
    }

    /// Waits for a change since the last one that was returned, or since this
    /// was made. Of several changes the last counts.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn changed(&mut self) -> State {
        loop {
            let mut changed = pin!(self.handle.breaker.settings.changed.notified());
            changed.as_mut().enable();
            let word = self.handle.breaker.word();
            if word.generation != self.seen {
                self.seen = word.generation;
                return word.state;
            }
            changed.await;
        }
    }
}

#[cfg(all(test, not(any(palisade_loom, palisade_shuttle))))]
mod tests {
    use super::*;
    use crate::{CircuitBreakerLayer, OpenReason, Trip};

    // As one that was made between the change of the state and its mark.
    #[tokio::test(start_paused = true)]
    async fn a_refusal_that_does_not_know_the_time_waits_for_it() {
        let breaker = CircuitBreakerLayer::new(Trip::consecutive(1)).handle();
        breaker.try_acquire().unwrap().record(Outcome::Failed);
        let open = Open::new(OpenReason::Tripped, None);
        let waited = tokio::time::timeout(Duration::from_secs(6), breaker.changed(open));
        waited.await.expect("5 seconds at most");
    }

    // As one that was made just before the breaker closed.
    #[tokio::test(start_paused = true)]
    async fn a_refusal_that_is_over_does_not_wait() {
        let breaker = CircuitBreakerLayer::new(Trip::consecutive(1)).handle();
        let start = tokio::time::Instant::now();
        breaker.changed(Open::new(OpenReason::Tripped, Some(Duration::from_secs(5)))).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_state_does_not_begin_before_the_last_one_seen() {
        let breaker = CircuitBreakerLayer::new(Trip::consecutive(1)).handle();
        let second = 1_000_000_000;
        let fail = |now: u64| {
            let token = breaker.breaker.admit(|| now).unwrap();
            breaker.breaker.record(token, crate::word::Grade::Failure, || None, || now);
        };
        fail(7 * second);
        breaker.reset();
        // A clock that went back.
        fail(2 * second);
        assert_eq!(breaker.breaker.view(8 * second).since, Duration::from_secs(1));
    }
}

//! One token and its renewal, as threads share them.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use arc_swap::{ArcSwapOption, Guard};

use crate::{
    AuthError, Moment, Reason, Token,
    rules::{Failed, Limits, PROOF, Patience, State, Use, decide},
    sync::{AtomicU64, Mutex, Ordering, lock},
    window::{Age, Life},
};

/// A place for one token. `F` is what waits for another one.
///
/// Who finds the token fresh takes it without a lock, and so does who finds that
/// another one is being fetched meanwhile, or was not to be had a moment ago. All
/// that is decided is decided under the lock, so of all who find that a token is
/// due one begins.
pub(crate) struct Slot<F> {
    id: u64,
    // Written under the lock.
    current: ArcSwapOption<Held>,
    // Until then who has a token that can be used need not look for another one.
    quiet: Quiet,
    cold: Mutex<Cold<F>>,
}

/// A moment by both clocks, in nanoseconds: it is over when either says so, as the
/// steady one may stand still while a machine sleeps. Written under the lock; who
/// finds half of it looks once too often, or goes by the earlier of two.
struct Quiet {
    steady: AtomicU64,
    wall: AtomicU64,
}

struct Cold<F> {
    flight: Option<Flying<F>>,
    failed: Option<Failed>,
    // Of the last token there was.
    generation: u64,
    // Counts what makes tokens that are on their way worthless.
    epoch: u64,
    flights: u64,
}

/// A token that is being fetched.
struct Flying<F> {
    number: u64,
    began: Moment,
    patience: Patience,
    flight: F,
}

/// A token that is there.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) token: Token,
    pub(crate) generation: u64,
    life: Life,
    refused: bool,
    // When it came in place of one that was refused.
    replaced: Option<Moment>,
}

/// What is known of a flight that begins.
#[derive(Debug)]
pub(crate) struct Begin {
    pub(crate) number: u64,
    pub(crate) epoch: u64,
    pub(crate) previous: Option<Token>,
    pub(crate) reason: Reason,
    pub(crate) now: Moment,
}

/// What a request gets.
pub(crate) enum Taken<F> {
    Use(Arc<Held>),
    /// And this has begun.
    UseAndRefresh(Arc<Held>, F),
    Join(Join<F>),
    Fail(AuthError),
}

/// A flight to wait for.
pub(crate) struct Join<F> {
    pub(crate) flight: F,
    pub(crate) number: u64,
    /// Whether it begins with this.
    pub(crate) begins: bool,
    pub(crate) fallback: bool,
    pub(crate) until: Duration,
}

/// What a flight came to.
#[derive(Debug)]
pub(crate) enum Landing {
    Token(Token, Life),
    Failed(AuthError),
    /// It broke off, and says nothing of the source.
    Lost,
}

/// What became of that.
#[derive(Debug)]
pub(crate) enum Landed {
    Stored(Arc<Held>),
    Failed(AuthError),
    /// Nobody wants it any more, or it broke off.
    Nothing,
}

/// What a refusal says of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invalidated {
    /// It came a moment ago for one that was refused: that is enough.
    Young,
    /// Another one has taken its place.
    Replaced,
    /// It is not used any more.
    Now,
}

impl<F: Clone> Slot<F> {
    pub(crate) fn new(id: u64) -> Self {
        let cold = Cold { flight: None, failed: None, generation: 0, epoch: 0, flights: 0 };
        Self {
            id,
            current: ArcSwapOption::empty(),
            quiet: Quiet { steady: AtomicU64::new(0), wall: AtomicU64::new(0) },
            cold: Mutex::new(cold),
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The token, if it can be used and nothing is to be done.
    #[inline]
    pub(crate) fn fresh(&self, now: Moment) -> Option<Fresh> {
        let current = self.current.load();
        let held = current.as_deref()?;
        match held.life.is_fresh(now) || self.is_quiet(held, now) {
            true => Some(Fresh(current)),
            false => None,
        }
    }

    #[cold]
    fn is_quiet(&self, held: &Held, now: Moment) -> bool {
        !held.refused && held.life.age(now) == Age::Soft && self.quiet.lasts(now)
    }

    /// The token, or what has to be waited for. `begin` makes a flight, and is
    /// called under the lock.
    pub(crate) fn take(
        &self,
        now: Moment,
        limits: Limits,
        begin: impl FnOnce(Begin) -> F,
    ) -> Taken<F> {
        // Dropped after the lock: it is not ours.
        let _lost;
        let mut cold = lock(&self.cold);
        _lost = cold.take_lost(now, limits);
        let current = self.current.load_full();
        let usable = current.as_ref().filter(|held| !held.refused);
        let state = State {
            age: usable.map(|held| held.life.age(now)),
            flight: cold.flight.as_ref().map(|flying| flying.patience),
            failed: cold.failed.as_ref(),
        };
        let begin = |cold: &mut Cold<F>| {
            // Who comes after that finds a flight that was lost.
            self.quiet.set(now, limits.lost_after());
            cold.begin(current.as_deref(), now, begin)
        };
        let decided = decide(&state, limits, now);
        let held = || Arc::clone(usable.expect("it is decided to be used"));
        match decided {
            Use::Token => Taken::Use(held()),
            Use::TokenAndRefresh => Taken::UseAndRefresh(held(), begin(&mut cold).1),
            Use::Join { fallback, until } => {
                let flying = cold.flight.as_ref();
                let known = flying.map(|flying| (flying.number, flying.flight.clone()));
                let begins = known.is_none();
                let (number, flight) = known.unwrap_or_else(|| begin(&mut cold));
                Taken::Join(Join { flight, number, begins, fallback, until })
            }
            Use::Fail(error) => Taken::Fail(error),
        }
    }

    /// Takes in what a flight came to.
    pub(crate) fn land(
        &self,
        number: u64,
        epoch: u64,
        landing: Landing,
        now: Moment,
        random: f64,
    ) -> Landed {
        // Dropped after the lock: they are not ours.
        let (ours, _gone);
        let mut cold = lock(&self.cold);
        ours = cold.flight.take_if(|flying| flying.number == number);
        match landing {
            // One that was given up may come in the end, and is as good as any.
            Landing::Token(token, life) if cold.epoch == epoch => {
                let current = self.current.load();
                let refused = current.as_ref().is_some_and(|held| held.refused);
                let replaced = refused.then_some(now);
                let held = cold.next(token, life, replaced);
                _gone = self.put(&mut cold, Some(Arc::clone(&held)));
                Landed::Stored(held)
            }
            Landing::Failed(error) if ours.is_some() => {
                let failed = Failed::new(error.clone(), cold.failed.as_ref(), now, random);
                let left = failed.left(now).unwrap_or_default();
                self.quiet.set(now, left);
                _gone = cold.failed.replace(failed);
                Landed::Failed(error)
            }
            _ => {
                if ours.is_some() {
                    self.quiet.end();
                }
                Landed::Nothing
            }
        }
    }

    /// Somebody has waited for a flight for as long as could be: nobody else who
    /// can do without does.
    pub(crate) fn lose_patience(&self, number: u64) {
        let mut cold = lock(&self.cold);
        if let Some(flying) = cold.flight.as_mut().filter(|flying| flying.number == number) {
            flying.patience = Patience::Over;
        }
    }

    /// The token of this generation was refused.
    pub(crate) fn invalidate(&self, generation: u64, now: Moment) -> Invalidated {
        let _cold = lock(&self.cold);
        let current = self.current.load();
        let Some(held) = current.as_ref() else {
            return Invalidated::Replaced;
        };
        if held.refused {
            return Invalidated::Now;
        }
        if held.generation != generation {
            return Invalidated::Replaced;
        }
        if held.replaced.is_some_and(|replaced| now.since(replaced) < PROOF) {
            return Invalidated::Young;
        }
        self.current.store(Some(Arc::new(held.refused())));
        Invalidated::Now
    }

    /// Puts a token in the place of the one there is, and of those on their way;
    /// or none. Says for what is waited in vain.
    pub(crate) fn replace(&self, token: Option<(Token, Life)>) -> Option<F> {
        // Dropped after the lock: it is not ours.
        let _gone;
        let mut cold = lock(&self.cold);
        cold.epoch += 1;
        let flying = cold.flight.take();
        let held = token.map(|(token, life)| cold.next(token, life, None));
        _gone = self.put(&mut cold, held);
        flying.map(|flying| flying.flight)
    }

    /// Whether somebody may wait for a token of this slot.
    pub(crate) fn is_busy(&self) -> bool {
        lock(&self.cold).flight.is_some()
    }

    fn put(&self, cold: &mut Cold<F>, held: Option<Arc<Held>>) -> Option<Failed> {
        self.quiet.end();
        self.current.store(held);
        cold.failed.take()
    }
}

impl<F> fmt::Debug for Slot<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Quiet {
    fn lasts(&self, now: Moment) -> bool {
        let (steady, wall) = by_both(now);
        steady < self.steady.load(Ordering::Relaxed) && wall < self.wall.load(Ordering::Relaxed)
    }

    fn set(&self, now: Moment, rest: Duration) {
        let (steady, wall) = by_both(now);
        let rest = in_nanos(rest);
        self.steady.store(steady.saturating_add(rest), Ordering::Relaxed);
        self.wall.store(wall.saturating_add(rest), Ordering::Relaxed);
    }

    fn end(&self) {
        self.steady.store(0, Ordering::Relaxed);
    }
}

fn by_both(now: Moment) -> (u64, u64) {
    let wall = now.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    (in_nanos(now.steady()), in_nanos(wall))
}

impl<F: Clone> Cold<F> {
    fn begin(
        &mut self,
        current: Option<&Held>,
        now: Moment,
        begin: impl FnOnce(Begin) -> F,
    ) -> (u64, F) {
        self.flights += 1;
        let reason = match current {
            None => Reason::Missing,
            Some(held) if held.refused => Reason::Refused,
            Some(_) => Reason::Expiring,
        };
        let previous = current.map(|held| held.token.clone());
        let number = self.flights;
        let flight = begin(Begin { number, epoch: self.epoch, previous, reason, now });
        let patience = Patience::Patient;
        self.flight = Some(Flying { number, began: now, patience, flight: flight.clone() });
        (number, flight)
    }

    /// A flight that should have ended, and does not: nobody polls it.
    fn take_lost(&mut self, now: Moment, limits: Limits) -> Option<Flying<F>> {
        self.flight.take_if(|flying| limits.lost_after() <= now.since(flying.began))
    }

    fn next(&mut self, token: Token, life: Life, replaced: Option<Moment>) -> Arc<Held> {
        self.generation += 1;
        let generation = self.generation;
        Arc::new(Held { token, generation, life, refused: false, replaced })
    }
}

impl Held {
    fn refused(&self) -> Self {
        Self {
            token: self.token.clone(),
            generation: self.generation,
            life: self.life.ended(),
            refused: true,
            replaced: self.replaced,
        }
    }
}

/// A token that can be used, borrowed.
pub(crate) struct Fresh(Guard<Option<Arc<Held>>>);

impl Fresh {
    #[inline]
    pub(crate) fn held(&self) -> &Held {
        self.0.as_deref().expect("it was there")
    }
}

pub(super) fn in_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(all(test, palisade_shuttle))]
mod models;
#[cfg(all(test, not(palisade_shuttle)))]
mod tests;

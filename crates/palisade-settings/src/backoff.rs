use std::{fmt, sync::Arc, time::Duration};

use crate::{InvalidSetting, literal};

/// Decides how long to wait before an attempt.
///
/// [`Backoff`] is the default; [`schedule_fn`] turns a closure into one.
pub trait Schedule {
    /// The delay before the next attempt.
    fn delay(&self, step: &Step) -> Duration;

    /// Takes the first `retries` delays from this schedule, and all others from
    /// `next`, which counts from 1 again.
    ///
    /// ```
    /// use std::time::Duration;
    /// use palisade_settings::{Backoff, Jitter, Schedule, Step};
    ///
    /// // At once, and then with growing care.
    /// let backoff = Backoff::constant(Duration::ZERO)
    ///     .chain(1, Backoff::exponential(Duration::from_secs(1)).jitter(Jitter::None));
    /// let delay = |retry| backoff.delay(&Step::new(retry, Duration::ZERO, 0.5)).as_secs();
    /// assert_eq!([delay(1), delay(2), delay(3)], [0, 1, 2]);
    /// ```
    fn chain<S: Schedule>(self, retries: u32, next: S) -> Chain<Self, S>
    where
        Self: Sized,
    {
        Chain { first: self, retries, next }
    }
}

impl<S: Schedule + ?Sized> Schedule for Arc<S> {
    fn delay(&self, step: &Step) -> Duration {
        (**self).delay(step)
    }
}

/// Made by [`Schedule::chain`].
#[derive(Clone, Copy, Debug)]
pub struct Chain<A, B> {
    first: A,
    retries: u32,
    next: B,
}

impl<A: Schedule, B: Schedule> Schedule for Chain<A, B> {
    fn delay(&self, step: &Step) -> Duration {
        match step.retry.checked_sub(self.retries) {
            None | Some(0) => self.first.delay(step),
            Some(retry) => self.next.delay(&Step { retry, ..*step }),
        }
    }
}

/// What a [`Schedule`] goes by.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// Which retry it is, from 1.
    pub retry: u32,
    /// The delay before the previous retry; zero before the first.
    pub previous: Duration,
    /// A random number in `0.0..1.0`.
    pub random: f64,
}

impl Step {
    /// A step, for who tests a schedule of their own.
    pub fn new(retry: u32, previous: Duration, random: f64) -> Self {
        Self { retry, previous, random }
    }
}

/// Decides delays with a closure.
///
/// ```
/// use std::time::Duration;
/// use palisade_settings::{Schedule, Step, schedule_fn};
///
/// let table = [50, 200, 1000].map(Duration::from_millis);
/// let backoff = schedule_fn(move |step: &Step| table[table.len().min(step.retry as usize) - 1]);
/// assert_eq!(backoff.delay(&Step::new(7, table[2], 0.5)), table[2]);
/// ```
pub fn schedule_fn<F>(delay: F) -> ScheduleFn<F>
where
    F: Fn(&Step) -> Duration,
{
    ScheduleFn(delay)
}

/// Made by [`schedule_fn`].
#[derive(Clone, Copy)]
pub struct ScheduleFn<F>(F);

impl<F> fmt::Debug for ScheduleFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScheduleFn(..)")
    }
}

impl<F: Fn(&Step) -> Duration> Schedule for ScheduleFn<F> {
    fn delay(&self, step: &Step) -> Duration {
        (self.0)(step)
    }
}

/// Delays that grow, between a least and a greatest, with jitter.
///
/// The bounds hold for what is waited, jitter included.
///
/// ```
/// use std::time::Duration;
/// use palisade_settings::{Backoff, Jitter, Schedule, Step};
///
/// let backoff = Backoff::exponential(Duration::from_millis(50))
///     .max(Duration::from_secs(2))
///     .jitter(Jitter::None);
/// let delay = |retry| backoff.delay(&Step::new(retry, Duration::ZERO, 0.5));
/// assert_eq!(delay(1), Duration::from_millis(50));
/// assert_eq!(delay(3), Duration::from_millis(200));
/// assert_eq!(delay(1000), Duration::from_secs(2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Backoff {
    curve: Curve,
    base: Duration,
    min: Duration,
    max: Duration,
    jitter: Jitter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Curve {
    Constant,
    Linear,
    Exponential,
    Fibonacci,
}

/// How delays are spread, so that clients that failed together do not come
/// back together.
///
/// The names are those of Brooker, "Exponential Backoff And Jitter" (2015).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Jitter {
    /// The delay as it is.
    None,
    /// Between nothing and the delay.
    #[default]
    Full,
    /// Between half the delay and the delay.
    Equal,
    /// Between the first delay and three times the previous one; the curve
    /// does not matter.
    Decorrelated,
}

impl Backoff {
    /// The same delay each time. Zero is fine: retry at once.
    pub fn constant(delay: Duration) -> Self {
        Self {
            curve: Curve::Constant,
            base: delay,
            min: Duration::ZERO,
            max: delay.max(Duration::from_secs(10)),
            jitter: Jitter::Full,
        }
    }

    /// `base`, then longer by as much each time.
    ///
    /// # Panics
    ///
    /// If `base` is zero.
    #[track_caller]
    pub fn linear(base: Duration) -> Self {
        literal(Self::try_linear(base))
    }

    /// As [`linear`](Self::linear), for a value from outside.
    ///
    /// # Errors
    ///
    /// If `base` is zero.
    pub fn try_linear(base: Duration) -> Result<Self, InvalidSetting> {
        Self::growing(Curve::Linear, base)
    }

    /// `base`, then twice as long each time.
    ///
    /// # Panics
    ///
    /// If `base` is zero.
    #[track_caller]
    pub fn exponential(base: Duration) -> Self {
        literal(Self::try_exponential(base))
    }

    /// As [`exponential`](Self::exponential), for a value from outside.
    ///
    /// # Errors
    ///
    /// If `base` is zero.
    pub fn try_exponential(base: Duration) -> Result<Self, InvalidSetting> {
        Self::growing(Curve::Exponential, base)
    }

    /// `base`, `base`, then the sum of the two before.
    ///
    /// # Panics
    ///
    /// If `base` is zero.
    #[track_caller]
    pub fn fibonacci(base: Duration) -> Self {
        literal(Self::try_fibonacci(base))
    }

    /// As [`fibonacci`](Self::fibonacci), for a value from outside.
    ///
    /// # Errors
    ///
    /// If `base` is zero.
    pub fn try_fibonacci(base: Duration) -> Result<Self, InvalidSetting> {
        Self::growing(Curve::Fibonacci, base)
    }

    fn growing(curve: Curve, base: Duration) -> Result<Self, InvalidSetting> {
        if base.is_zero() {
            return Err(InvalidSetting::new(
                "a delay that grows must not start at zero: write `Backoff::constant(Duration::ZERO)` to retry at once",
            ));
        }
        Ok(Self { curve, ..Self::constant(base) })
    }

    /// Sets the least delay, jitter included. Defaults to zero.
    pub fn min(mut self, min: Duration) -> Self {
        self.min = min;
        self
    }

    /// Sets the greatest delay, jitter included; it wins over
    /// [`min`](Self::min). Defaults to 10 seconds, or to the first delay if
    /// that is longer.
    pub fn max(mut self, max: Duration) -> Self {
        self.max = max;
        self
    }

    /// Sets the jitter. Defaults to [`Jitter::Full`].
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    fn grown(&self, retry: u32) -> Duration {
        let times = match self.curve {
            Curve::Constant => 1,
            Curve::Linear => retry.into(),
            Curve::Exponential => 1_u128 << (retry.max(1) - 1).min(100),
            Curve::Fibonacci => fibonacci(retry),
        };
        from_nanos(self.base.as_nanos().saturating_mul(times))
    }
}

/// 50 milliseconds, doubled each time up to 10 seconds, with full jitter.
impl Default for Backoff {
    fn default() -> Self {
        Self::exponential(Duration::from_millis(50))
    }
}

impl Schedule for Backoff {
    fn delay(&self, step: &Step) -> Duration {
        let (least, greatest) = match self.jitter {
            Jitter::Decorrelated => {
                let previous = step.previous.max(self.base);
                (self.base, previous.saturating_mul(3).min(self.max))
            }
            jitter => {
                let delay = self.grown(step.retry).min(self.max);
                let least = match jitter {
                    Jitter::Full => Duration::ZERO,
                    Jitter::Equal => delay / 2,
                    _ => delay,
                };
                (least, delay)
            }
        };
        between(least, greatest, step.random).max(self.min).min(self.max)
    }
}

/// The point that `random` marks between the two.
fn between(least: Duration, greatest: Duration, random: f64) -> Duration {
    let span = greatest.saturating_sub(least).as_secs_f64() * random;
    // Rounding may carry a span past the longest duration.
    let span = Duration::try_from_secs_f64(span).unwrap_or(Duration::MAX);
    least.saturating_add(span)
}

fn fibonacci(n: u32) -> u128 {
    let mut pair = (0_u128, 1_u128);
    // The hundredth times a nanosecond are eleven thousand years.
    for _ in 0..n.min(100) {
        pair = (pair.1, pair.0 + pair.1);
    }
    pair.0
}

fn from_nanos(nanos: u128) -> Duration {
    const SECOND: u128 = 1_000_000_000;
    match u64::try_from(nanos / SECOND) {
        Ok(seconds) => Duration::new(seconds, (nanos % SECOND) as u32),
        Err(_) => Duration::MAX,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn delays(backoff: Backoff, count: u32) -> Vec<u128> {
        (1..=count)
            .map(|retry| backoff.delay(&Step::new(retry, Duration::ZERO, 0.5)).as_millis())
            .collect()
    }

    #[test]
    fn each_curve_gives_its_sequence() {
        for (backoff, expected) in [
            (Backoff::constant(7 * MS), [7, 7, 7, 7, 7, 7]),
            (Backoff::linear(10 * MS), [10, 20, 30, 40, 50, 60]),
            (Backoff::exponential(10 * MS), [10, 20, 40, 80, 160, 320]),
            (Backoff::fibonacci(10 * MS), [10, 10, 20, 30, 50, 80]),
            (Backoff::exponential(10 * MS).max(70 * MS), [10, 20, 40, 70, 70, 70]),
            (Backoff::exponential(10 * MS).min(30 * MS), [30, 30, 40, 80, 160, 320]),
            (Backoff::constant(MS).min(9 * MS).max(5 * MS), [5, 5, 5, 5, 5, 5]),
            (Backoff::exponential(Duration::MAX), [Duration::MAX.as_millis(); 6]),
        ] {
            assert_eq!(delays(backoff.jitter(Jitter::None), 6), expected, "{backoff:?}");
        }
    }

    #[test]
    fn grows_from_a_nanosecond_without_a_jump() {
        let backoff = Backoff::exponential(Duration::from_nanos(1)).max(Duration::MAX);
        let delay =
            |retry| backoff.jitter(Jitter::None).delay(&Step::new(retry, Duration::ZERO, 0.0));
        assert_eq!(delay(41), Duration::from_nanos(1 << 40));
        assert_eq!(delay(u32::MAX), Duration::MAX);
    }

    #[test]
    fn a_chain_goes_on_with_the_next() {
        let chain = Backoff::constant(5 * MS)
            .jitter(Jitter::None)
            .chain(2, Backoff::linear(10 * MS).jitter(Jitter::None));
        let delays = (1..=5).map(|retry| chain.delay(&Step::new(retry, Duration::ZERO, 0.5)));
        assert_eq!(delays.map(|delay| delay.as_millis()).collect::<Vec<_>>(), [5, 5, 10, 20, 30]);
    }

    #[test]
    fn refuses_to_grow_from_nothing() {
        assert!(Backoff::try_linear(Duration::ZERO).is_err());
        assert!(Backoff::try_exponential(Duration::ZERO).is_err());
        assert!(Backoff::try_fibonacci(Duration::ZERO).is_err());
        assert_eq!(delays(Backoff::constant(Duration::ZERO), 2), [0, 0]);
    }

    #[test]
    #[should_panic(expected = "write `Backoff::constant(Duration::ZERO)`")]
    fn a_literal_that_makes_no_sense_panics() {
        let _ = Backoff::exponential(Duration::ZERO);
    }

    fn duration() -> impl Strategy<Value = Duration> {
        (any::<u64>(), 0..64_u32, 0..1_000_000_000_u32)
            .prop_map(|(secs, shift, nanos)| Duration::new(secs >> shift, nanos))
    }

    proptest! {
        #[test]
        fn jitter_stays_in_its_bounds(
            base in duration(), min in duration(), max in duration(), previous in duration(),
            retry in any::<u32>(), random in 0.0..1.0,
            jitter in prop::sample::select(vec![Jitter::None, Jitter::Full, Jitter::Equal, Jitter::Decorrelated]),
            fibonacci in any::<bool>(),
        ) {
            let base = base.max(Duration::from_nanos(1));
            let backoff = if fibonacci { Backoff::fibonacci(base) } else { Backoff::exponential(base) };
            let backoff = backoff.min(min).max(max).jitter(jitter);
            let plain = backoff.jitter(Jitter::None).delay(&Step::new(retry, previous, random));
            let delay = backoff.delay(&Step::new(retry, previous, random));
            prop_assert!(delay <= max);
            prop_assert!(min.min(max) <= delay);
            match jitter {
                Jitter::None => prop_assert_eq!(delay, plain),
                Jitter::Full => prop_assert!(delay <= plain),
                Jitter::Equal => prop_assert!((plain / 2).min(delay) <= delay && delay <= plain),
                Jitter::Decorrelated => {
                    let most = previous.max(base).saturating_mul(3).max(min).min(max);
                    prop_assert!(base.min(max) <= delay && delay <= most.max(base.min(max)));
                }
            }
        }
    }

    #[test]
    fn jitter_uses_its_whole_range() {
        for (jitter, least, greatest) in
            [(Jitter::Full, 0, 400), (Jitter::Equal, 200, 400), (Jitter::Decorrelated, 100, 900)]
        {
            let backoff = Backoff::exponential(100 * MS).jitter(jitter);
            let at = |random| backoff.delay(&Step::new(3, 300 * MS, random)).as_millis();
            assert_eq!(at(0.0), least, "{jitter:?}");
            assert!([greatest - 1, greatest].contains(&at(1.0 - f64::EPSILON)), "{jitter:?}");
            assert_eq!(at(0.5), u128::midpoint(least, greatest), "{jitter:?}");
        }
    }
}

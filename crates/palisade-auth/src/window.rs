use std::time::Duration;

use palisade_settings::{InvalidSetting, literal};

use crate::Moment;

/// How long before a token expires it is refreshed.
///
/// First in the background, while requests go on with the old one; then, if
/// there is none by then, while requests wait. A window is derived from the
/// lifetime of each token, and never takes more than 60 % of it: a token that
/// lives for a second must not be refreshed without end.
///
/// By default requests wait in the last 10 % of the lifetime, 60 seconds at
/// most. The background has the 20 % before that, 240 seconds at most, and
/// begins up to another 10 %, 30 seconds at most, earlier: so that clients that
/// started together do not refresh together.
///
/// ```
/// use std::time::Duration;
/// use palisade_auth::RefreshWindow;
///
/// // From a quarter of an hour before the end.
/// let window = RefreshWindow::before(Duration::from_secs(15 * 60));
/// // In the last third.
/// let window = RefreshWindow::fraction(0.33);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[must_use]
pub struct RefreshWindow {
    ahead: Ahead,
    wait: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Ahead {
    #[default]
    Derived,
    Fraction(f64),
    Before(Duration),
}

impl RefreshWindow {
    /// Refreshes in this last part of the lifetime, half of it at most.
    ///
    /// # Panics
    ///
    /// If it is not between 0 and 1.
    #[track_caller]
    pub fn fraction(fraction: f64) -> Self {
        literal(Self::try_fraction(fraction))
    }

    /// As [`fraction`](Self::fraction), for a value from outside.
    ///
    /// # Errors
    ///
    /// If it is not between 0 and 1.
    pub fn try_fraction(fraction: f64) -> Result<Self, InvalidSetting> {
        match (0.0..=1.0).contains(&fraction) {
            true => Ok(Self { ahead: Ahead::Fraction(fraction), wait: None }),
            false => Err(InvalidSetting::new("a part of a lifetime must be between 0 and 1")),
        }
    }

    /// Refreshes for this long before the end; for half of the lifetime at
    /// most.
    pub fn before(ahead: Duration) -> Self {
        Self { ahead: Ahead::Before(ahead), wait: None }
    }

    /// Sets how long before the end requests wait for the new token. Defaults to
    /// 10 % of the lifetime, 60 seconds at most; a quarter of the lifetime is
    /// the most.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    /// The ages at which a token is refreshed in the background, and waited for.
    pub(crate) fn ages(&self, lifetime: Duration, random: f64) -> (Duration, Duration) {
        let part = |fraction: f64| lifetime.mul_f64(fraction);
        let wait = self.wait.unwrap_or_else(|| part(0.1).min(MINUTE)).min(lifetime / 4);
        let ahead = match self.ahead {
            Ahead::Derived => wait.saturating_add(part(0.2).min(4 * MINUTE)),
            Ahead::Fraction(fraction) => part(fraction),
            Ahead::Before(ahead) => ahead,
        };
        let jitter = part(0.1).min(MINUTE / 2).mul_f64(random);
        let ahead = ahead.max(wait).min(lifetime / 2).saturating_add(jitter);
        (lifetime.saturating_sub(ahead), lifetime.saturating_sub(wait))
    }
}

const MINUTE: Duration = Duration::from_secs(60);
/// Longer than anything that runs, and short enough to be reckoned with.
const AGES: Duration = Duration::from_secs(1 << 40);

/// What becomes of a token, by its age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    from: Moment,
    soft: Duration,
    hard: Duration,
    end: Duration,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    Fresh,
    /// Another one is due.
    Soft,
    /// Another one is waited for, for as long as this one lives: so long.
    Hard(Duration),
    /// It is over, since so long.
    Over(Duration),
}

impl Life {
    pub(crate) fn new(
        from: Moment,
        lifetime: Duration,
        window: &RefreshWindow,
        random: f64,
    ) -> Self {
        let end = lifetime.min(AGES);
        let (soft, hard) = window.ages(end, random);
        Self { from, soft, hard, end }
    }

    /// Until it is refused.
    pub(crate) fn endless(from: Moment) -> Self {
        Self { from, soft: Duration::MAX, hard: Duration::MAX, end: Duration::MAX }
    }

    /// The same, over from the start.
    pub(crate) fn ended(self) -> Self {
        let zero = Duration::ZERO;
        Self { soft: zero, hard: zero, end: zero, ..self }
    }

    #[inline]
    pub(crate) fn is_fresh(&self, now: Moment) -> bool {
        now.since(self.from) < self.soft
    }

    pub(crate) fn age(&self, now: Moment) -> Age {
        match now.since(self.from) {
            age if age < self.soft => Age::Fresh,
            age if age < self.hard => Age::Soft,
            age if age < self.end => Age::Hard(self.end - age),
            age => Age::Over(age - self.end),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    /// How long before the end, at the earliest and at the latest, and when
    /// requests wait.
    fn check(window: RefreshWindow, lifetime: Duration, ahead: [Duration; 2], wait: Duration) {
        for (random, ahead) in [(0.0, ahead[0]), (1.0, ahead[1])] {
            let ages = window.ages(lifetime, random);
            assert_eq!(ages, (lifetime - ahead, lifetime - wait), "{window:?} of {lifetime:?}");
        }
    }

    #[test]
    fn a_window_is_derived_from_the_lifetime() {
        let window = RefreshWindow::default();
        check(window, 3600 * SECOND, [300 * SECOND, 330 * SECOND], 60 * SECOND);
        check(window, 300 * SECOND, [90 * SECOND, 120 * SECOND], 30 * SECOND);
        check(window, 5 * SECOND, [1500 * MS, 2000 * MS], 500 * MS);
        check(window, Duration::ZERO, [Duration::ZERO; 2], Duration::ZERO);
    }

    #[test]
    fn a_window_that_is_set_is_bounded_by_the_lifetime() {
        let window = RefreshWindow::before(300 * SECOND);
        check(window, 3600 * SECOND, [300 * SECOND, 330 * SECOND], 60 * SECOND);
        check(window, 300 * SECOND, [150 * SECOND, 180 * SECOND], 30 * SECOND);
        check(window.wait(200 * SECOND), 40 * SECOND, [20 * SECOND, 24 * SECOND], 10 * SECOND);
        let third = RefreshWindow::fraction(0.3);
        check(third, 100 * SECOND, [30 * SECOND, 40 * SECOND], 10 * SECOND);
        check(RefreshWindow::fraction(1.0), 10 * SECOND, [5 * SECOND, 6 * SECOND], SECOND);
        check(RefreshWindow::fraction(0.0), 10 * SECOND, [SECOND, 2 * SECOND], SECOND);
    }

    #[test]
    fn a_part_is_between_nothing_and_all() {
        for fraction in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(RefreshWindow::try_fraction(fraction).is_err(), "{fraction}");
        }
    }

    fn at(steady: Duration) -> Moment {
        Moment::new(SystemTime::UNIX_EPOCH, steady)
    }

    #[test]
    fn ages_to_the_millisecond() {
        let life = Life::new(at(SECOND), 100 * SECOND, &RefreshWindow::default(), 0.0);
        for (age, expected) in [
            (Duration::ZERO, Age::Fresh),
            (70 * SECOND - MS, Age::Fresh),
            (70 * SECOND, Age::Soft),
            (90 * SECOND - MS, Age::Soft),
            (90 * SECOND, Age::Hard(10 * SECOND)),
            (100 * SECOND - MS, Age::Hard(MS)),
            (100 * SECOND, Age::Over(Duration::ZERO)),
            (103 * SECOND, Age::Over(3 * SECOND)),
        ] {
            assert_eq!(life.age(at(SECOND + age)), expected, "{age:?}");
        }
        // The clock went back.
        assert_eq!(life.age(at(Duration::ZERO)), Age::Fresh);
        assert_eq!(Life::endless(at(SECOND)).age(at(AGES)), Age::Fresh);
    }

    proptest! {
        #[test]
        fn most_of_a_life_is_fresh(
            lifetime in 0..u64::MAX, ahead in 0..u64::MAX, wait in 0..u64::MAX,
            fraction in 0.0..=1.0, random in 0.0..1.0, which in 0..3,
        ) {
            let window = match which {
                0 => RefreshWindow::default(),
                1 => RefreshWindow::fraction(fraction),
                _ => RefreshWindow::before(Duration::from_nanos(ahead)),
            };
            let lifetime = Duration::from_nanos(lifetime);
            for window in [window, window.wait(Duration::from_nanos(wait))] {
                let (soft, hard) = window.ages(lifetime, random);
                prop_assert!(soft <= hard && hard <= lifetime);
                prop_assert!(lifetime.mul_f64(0.399) <= soft);
                prop_assert!(lifetime.mul_f64(0.749) <= hard);
            }
        }

        #[test]
        fn no_lifetime_is_too_long(seconds in 0..u64::MAX, nanos in 0..1_000_000_000_u32) {
            let lifetime = Duration::new(seconds, nanos);
            let life = Life::new(at(Duration::ZERO), lifetime, &RefreshWindow::default(), 0.5);
            prop_assert!(life.soft <= life.hard && life.hard <= life.end && life.end <= lifetime);
        }
    }
}

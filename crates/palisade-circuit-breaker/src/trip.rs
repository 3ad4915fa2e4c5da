use std::time::Duration;

use palisade_settings::{InvalidSetting, literal};

use crate::{Window, word::MAX_COUNT};

/// What opens a breaker.
///
/// Failures in a row, too high a rate of failures, too high a rate of slow
/// calls, or any of them:
///
/// ```
/// use std::time::Duration;
/// use palisade_circuit_breaker::{Trip, Window};
///
/// let trip = Trip::consecutive(5)
///     .or(Trip::failure_rate(0.5).window(Window::time(Duration::from_secs(10))).min_calls(20))
///     .or(Trip::slow_rate(Duration::from_secs(2), 0.8));
/// ```
///
/// Rates are those over a [`Window`]. They are judged when a failure or a slow
/// call comes in, so that a success never opens a breaker.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct Trip {
    consecutive: Option<u32>,
    failure_rate: Option<f64>,
    slow: Option<(Duration, f64)>,
    window: Option<Window>,
    min_calls: Option<u32>,
}

/// What a window holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) calls: u64,
    pub(crate) failures: u64,
    pub(crate) slow: u64,
}

const MIN_CALLS: u32 = 20;

impl Trip {
    const NEVER: Self =
        Self { consecutive: None, failure_rate: None, slow: None, window: None, min_calls: None };

    /// Opens after so many failures without a success in between.
    ///
    /// # Panics
    ///
    /// If it is zero, or more than a billion.
    #[track_caller]
    pub fn consecutive(failures: u32) -> Self {
        literal(Self::try_consecutive(failures))
    }

    /// As [`consecutive`](Self::consecutive), for a value from outside.
    ///
    /// # Errors
    ///
    /// If it is zero, or more than a billion.
    pub fn try_consecutive(failures: u32) -> Result<Self, InvalidSetting> {
        match failures {
            1..=MAX_COUNT => Ok(Self { consecutive: Some(failures), ..Self::NEVER }),
            _ => Err(InvalidSetting::new(
                "a breaker opens after 1 to a billion failures in a row: write 5 to forgive a few",
            )),
        }
    }

    /// Opens when this share of the calls in the window fails.
    ///
    /// # Panics
    ///
    /// If it is not from 0 to 1.
    #[track_caller]
    pub fn failure_rate(rate: f64) -> Self {
        literal(Self::try_failure_rate(rate))
    }

    /// As [`failure_rate`](Self::failure_rate), for a value from outside.
    ///
    /// # Errors
    ///
    /// If it is not from 0 to 1.
    pub fn try_failure_rate(rate: f64) -> Result<Self, InvalidSetting> {
        Ok(Self { failure_rate: Some(check_rate(rate)?), ..Self::NEVER })
    }

    /// Opens when this share of the calls in the window takes `slow` or
    /// longer, however they end. A probe that takes so long has failed.
    ///
    /// # Panics
    ///
    /// If `slow` is zero, or the rate not from 0 to 1.
    #[track_caller]
    pub fn slow_rate(slow: Duration, rate: f64) -> Self {
        literal(Self::try_slow_rate(slow, rate))
    }

    /// As [`slow_rate`](Self::slow_rate), for values from outside.
    ///
    /// # Errors
    ///
    /// If `slow` is zero, or the rate not from 0 to 1.
    pub fn try_slow_rate(slow: Duration, rate: f64) -> Result<Self, InvalidSetting> {
        match slow {
            Duration::ZERO => Err(InvalidSetting::new(
                "every call takes longer than nothing: write from how long on a call is slow",
            )),
            slow => Ok(Self { slow: Some((slow, check_rate(rate)?)), ..Self::NEVER }),
        }
    }

    /// Opens by either. Where both set the same thing, the other counts; the
    /// rates share one window and one least number of calls.
    pub fn or(self, other: Self) -> Self {
        let merged = Self {
            consecutive: other.consecutive.or(self.consecutive),
            failure_rate: other.failure_rate.or(self.failure_rate),
            slow: other.slow.or(self.slow),
            window: other.window.or(self.window),
            min_calls: other.min_calls.or(self.min_calls),
        };
        // A least number from one side may be too large for the window of the other.
        let least = merged.calls_needed();
        Self { min_calls: merged.min_calls.map(|min| min.min(least)), ..merged }
    }

    /// Sets which calls the rates are taken over. Defaults to the last 10
    /// seconds.
    ///
    /// # Panics
    ///
    /// If it never holds the least number of calls that was set.
    #[track_caller]
    pub fn window(self, window: Window) -> Self {
        literal(self.try_window(window))
    }

    /// As [`window`](Self::window), for a value from outside.
    ///
    /// # Errors
    ///
    /// If it never holds the least number of calls that was set.
    pub fn try_window(self, window: Window) -> Result<Self, InvalidSetting> {
        Self { window: Some(window), ..self }.checked()
    }

    /// Sets how many calls the window must hold before a rate is judged.
    /// Defaults to 20, or to the size of the window if that is smaller.
    ///
    /// # Panics
    ///
    /// If it is zero, or more than the window holds.
    #[track_caller]
    pub fn min_calls(self, calls: u32) -> Self {
        literal(self.try_min_calls(calls))
    }

    /// As [`min_calls`](Self::min_calls), for a value from outside.
    ///
    /// # Errors
    ///
    /// If it is zero, or more than the window holds.
    pub fn try_min_calls(self, calls: u32) -> Result<Self, InvalidSetting> {
        match calls {
            0 => Err(InvalidSetting::new(
                "a rate needs at least one call: write 1 to judge from the first on",
            )),
            calls => Self { min_calls: Some(calls), ..self }.checked(),
        }
    }

    fn checked(self) -> Result<Self, InvalidSetting> {
        let held = self.window.and_then(|window| window.most_calls());
        match (self.min_calls, held) {
            (Some(calls), Some(held)) if held < calls => Err(InvalidSetting::new(
                "the window never holds so many calls: lower min_calls, or widen the window",
            )),
            _ => Ok(self),
        }
    }

    /// The window that the rates need, if there are any.
    pub(crate) fn rate_window(&self) -> Option<Window> {
        let rates = self.failure_rate.is_some() || self.slow.is_some();
        rates.then(|| self.window.unwrap_or_default())
    }

    pub(crate) fn failures_in_row(&self) -> Option<u32> {
        self.consecutive
    }

    pub(crate) fn slow_after(&self) -> Option<Duration> {
        self.slow.map(|(after, _)| after)
    }

    fn calls_needed(&self) -> u32 {
        let held = self.window.and_then(|window| window.most_calls()).unwrap_or(u32::MAX);
        self.min_calls.unwrap_or(MIN_CALLS).min(held)
    }

    /// Why these counts open a breaker, if they do.
    pub(crate) fn judge(&self, counts: Counts) -> Option<&'static str> {
        if counts.calls < u64::from(self.calls_needed()) {
            return None;
        }
        // The product is off by less than half a call, whatever the rate.
        let reached =
            |rate: f64, count: u64| 0 < count && rate * counts.calls as f64 - 1e-9 <= count as f64;
        match () {
            () if self.failure_rate.is_some_and(|rate| reached(rate, counts.failures)) => {
                Some("failure_rate")
            }
            () if self.slow.is_some_and(|(_, rate)| reached(rate, counts.slow)) => {
                Some("slow_rate")
            }
            () => None,
        }
    }
}

/// 10 failures in a row, or half of at least 20 calls within 10 seconds.
///
/// Many calls at once fail in a row when the connection breaks that they share:
/// where an HTTP/2 connection carries more of them, ask for more in a row, or
/// go by the rate alone.
impl Default for Trip {
    fn default() -> Self {
        Self::consecutive(10).or(Self::failure_rate(0.5))
    }
}

fn check_rate(rate: f64) -> Result<f64, InvalidSetting> {
    match (0.0..=1.0).contains(&rate) {
        true => Ok(rate),
        false => {
            Err(InvalidSetting::new("a rate must be from 0 to 1: write 0.5 for half of the calls"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn counts(calls: u64, failures: u64, slow: u64) -> Counts {
        Counts { calls, failures, slow }
    }

    #[test]
    fn rates_are_reached_exactly() {
        let half = Trip::failure_rate(0.5).min_calls(4);
        let third = Trip::failure_rate(1.0 / 3.0).min_calls(1);
        let slow = Trip::slow_rate(SECOND, 0.8).min_calls(5);
        let either = half.or(slow);
        for (trip, counts, reason) in [
            (half, counts(3, 3, 0), None),
            (half, counts(4, 1, 4), None),
            (half, counts(4, 2, 0), Some("failure_rate")),
            (half, counts(101, 50, 0), None),
            (third, counts(3, 1, 0), Some("failure_rate")),
            (third, counts(3_000_000, 999_999, 0), None),
            (third, counts(3_000_000, 1_000_000, 0), Some("failure_rate")),
            (slow, counts(5, 5, 3), None),
            (slow, counts(5, 0, 4), Some("slow_rate")),
            (either, counts(5, 0, 4), Some("slow_rate")),
            (either, counts(6, 3, 0), Some("failure_rate")),
            (Trip::failure_rate(0.0).min_calls(1), counts(1, 0, 0), None),
            (Trip::failure_rate(0.0).min_calls(1), counts(9, 1, 0), Some("failure_rate")),
            (Trip::failure_rate(1.0).min_calls(1), counts(9, 8, 0), None),
            (Trip::failure_rate(1.0).min_calls(1), counts(9, 9, 0), Some("failure_rate")),
            (Trip::consecutive(1), counts(99, 99, 99), None),
        ] {
            assert_eq!(trip.judge(counts), reason, "{trip:?} {counts:?}");
        }
    }

    #[test]
    fn the_least_number_of_calls_fits_the_window() {
        let small = Trip::failure_rate(0.5).window(Window::count(10));
        assert_eq!(small.calls_needed(), 10);
        assert_eq!(Trip::failure_rate(0.5).calls_needed(), 20);
        assert_eq!(
            Trip::failure_rate(0.5).window(Window::count(10)).min_calls(3).calls_needed(),
            3
        );
        let merged = Trip::failure_rate(0.5).min_calls(50).or(small);
        assert_eq!(merged.calls_needed(), 10);
    }

    #[test]
    fn a_window_is_there_for_rates_alone() {
        assert_eq!(Trip::consecutive(3).window(Window::count(9)).rate_window(), None);
        assert_eq!(Trip::failure_rate(0.1).rate_window(), Some(Window::time(10 * SECOND)));
        let merged = Trip::consecutive(3).window(Window::count(9)).or(Trip::slow_rate(SECOND, 0.1));
        assert_eq!(merged.rate_window(), Some(Window::count(9)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let rates = [-0.1, 1.1, f64::NAN, f64::INFINITY];
        assert!(rates.iter().all(|rate| Trip::try_failure_rate(*rate).is_err()));
        assert!(rates.iter().all(|rate| Trip::try_slow_rate(SECOND, *rate).is_err()));
        assert!(Trip::try_slow_rate(Duration::ZERO, 0.5).is_err());
        assert!(Trip::try_consecutive(0).is_err());
        assert!(Trip::try_consecutive(u32::MAX).is_err());
        let rate = Trip::failure_rate(0.5);
        assert!(rate.try_min_calls(0).is_err());
        assert!(rate.window(Window::count(10)).try_min_calls(11).is_err());
        assert!(rate.min_calls(11).try_window(Window::count(10)).is_err());
    }

    #[test]
    #[should_panic(expected = "lower min_calls")]
    fn a_literal_that_makes_no_sense_panics() {
        let _ = Trip::failure_rate(0.5).window(Window::count(10)).min_calls(11);
    }
}

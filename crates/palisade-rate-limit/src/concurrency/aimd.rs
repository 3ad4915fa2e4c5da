use std::{ops::RangeInclusive, time::Duration};

use palisade_settings::{InvalidSetting, literal};

use crate::{LimitAlgorithm, Sample, Verdict, concurrency::bounds::Bounds};

/// Grows by one request for each round trip that goes well, and shrinks by a
/// tenth when the service drops one: additive increase, multiplicative decrease.
///
/// It goes by what is dropped, not by how long things take: for services that
/// say when they have too much to do. What was sent before the last decrease
/// says nothing about the limit since: a burst of 64 that all fail is one drop.
/// It does not grow while less than half of it is used.
///
/// ```
/// use palisade_rate_limit::{Aimd, ConcurrencyLimiter};
///
/// let limiter = ConcurrencyLimiter::adaptive(Aimd::new(10).bounds(2..=200));
/// assert_eq!(limiter.snapshot().limit, 10);
/// ```
//
// RFC 5681, section 3.1, is the same for TCP.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Aimd {
    limit: f64,
    bounds: Bounds,
    backoff: f64,
    decreased_at: Option<Duration>,
}

impl Aimd {
    /// Begins with this limit. It stays from 1 to 1000, or to where it begins,
    /// if that is more.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn new(initial: usize) -> Self {
        literal(Self::try_new(initial))
    }

    /// As [`new`](Self::new), for a value from outside.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn try_new(initial: usize) -> Result<Self, InvalidSetting> {
        let bounds = Bounds::from(initial)?;
        Ok(Self { limit: initial as f64, bounds, backoff: 0.9, decreased_at: None })
    }

    /// Sets between what the limit stays. Defaults to 1 to 1000.
    ///
    /// # Panics
    ///
    /// If the least is zero, or more than the most.
    #[track_caller]
    pub fn bounds(self, bounds: RangeInclusive<usize>) -> Self {
        literal(self.try_bounds(bounds))
    }

    /// As [`bounds`](Self::bounds), for values from outside.
    ///
    /// # Errors
    ///
    /// If the least is zero, or more than the most.
    pub fn try_bounds(self, bounds: RangeInclusive<usize>) -> Result<Self, InvalidSetting> {
        let bounds = Bounds::of(bounds)?;
        Ok(Self { limit: bounds.clamp(self.limit), bounds, ..self })
    }

    /// Sets what is left of the limit after a drop. Defaults to 0.9.
    ///
    /// # Panics
    ///
    /// If it is not between 0 and 1.
    #[track_caller]
    pub fn backoff(self, factor: f64) -> Self {
        literal(self.try_backoff(factor))
    }

    /// As [`backoff`](Self::backoff), for a value from outside.
    ///
    /// # Errors
    ///
    /// If it is not between 0 and 1.
    pub fn try_backoff(self, factor: f64) -> Result<Self, InvalidSetting> {
        match 0.0 < factor && factor < 1.0 {
            true => Ok(Self { backoff: factor, ..self }),
            false => Err(InvalidSetting::new(
                "a limit shrinks to a part of it: write 0.9 to let it shrink by a tenth",
            )),
        }
    }
}

impl LimitAlgorithm for Aimd {
    fn limit(&self) -> usize {
        self.limit as usize
    }

    fn record(&mut self, sample: &Sample) {
        if self.decreased_at.is_some_and(|at| sample.sent_at <= at) {
            return;
        }
        match sample.verdict {
            Verdict::Success if sample.reached(self.limit()) => self.limit += 1.0 / self.limit,
            Verdict::Dropped => {
                self.limit *= self.backoff;
                self.decreased_at = Some(sample.ended_at());
            }
            _ => {}
        }
        self.limit = self.bounds.clamp(self.limit);
    }

    fn set_limit(&mut self, limit: usize) {
        self.limit = self.bounds.clamp(limit as f64);
    }
}

#[cfg(all(test, not(palisade_shuttle)))]
mod tests {
    use super::*;
    use crate::concurrency::simulation::{Server, run};

    const MILLI: Duration = Duration::from_millis(1);

    fn sample(sent_at: u32, in_flight: usize, verdict: Verdict) -> Sample {
        Sample::new(MILLI * sent_at, MILLI * 10, in_flight, verdict)
    }

    #[test]
    fn grows_by_one_each_round_trip() {
        let mut aimd = Aimd::new(10);
        for round in 0..5 {
            assert_eq!(aimd.limit(), 10 + round);
            // The sum of the parts is a bit less than a whole.
            for _ in 0..=aimd.limit() {
                aimd.record(&sample(0, aimd.limit(), Verdict::Success));
            }
        }
    }

    #[test]
    fn a_burst_that_fails_is_one_drop() {
        let mut aimd = Aimd::new(100).backoff(0.5);
        for _ in 0..64 {
            aimd.record(&sample(0, 64, Verdict::Dropped));
        }
        assert_eq!(aimd.limit(), 50);
        // What was sent before and went well is no reason to grow, either.
        (0..100).for_each(|_| aimd.record(&sample(9, 64, Verdict::Success)));
        assert_eq!(aimd.limit(), 50);
        aimd.record(&sample(11, 50, Verdict::Dropped));
        assert_eq!(aimd.limit(), 25);
    }

    #[test]
    fn nothing_that_is_ignored_moves_it() {
        let mut aimd = Aimd::new(10);
        (0..100).for_each(|at| aimd.record(&sample(at, 10, Verdict::Ignored)));
        assert_eq!(aimd, Aimd::new(10));
    }

    #[test]
    fn settles_below_where_the_service_drops() {
        let mut aimd = Aimd::new(5);
        let server = Server { capacity: 40, base: MILLI * 20, drops: true };
        let limits = run(&mut aimd, server, usize::MAX, 50_000);
        let late = &limits[25_000..];
        let (least, most) = (late.iter().min().unwrap(), late.iter().max().unwrap());
        assert!(34 <= *least && *most <= 41, "{least}..={most}");
    }

    #[test]
    fn a_storm_shrinks_it_and_it_recovers() {
        let mut aimd = Aimd::new(100).bounds(3..=200);
        let server = Server { capacity: 0, base: MILLI * 20, drops: true };
        run(&mut aimd, server, usize::MAX, 2000);
        assert_eq!(aimd.limit(), 3);
        // Time starts anew.
        aimd.decreased_at = None;
        run(&mut aimd, Server { capacity: 50, ..server }, usize::MAX, 50_000);
        assert!(44 <= aimd.limit() && aimd.limit() <= 51, "{aimd:?}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(Aimd::try_new(0).is_err());
        for (factor, valid) in [(0.0, false), (0.1, true), (1.0, false), (f64::NAN, false)] {
            assert_eq!(Aimd::new(1).try_backoff(factor).is_ok(), valid, "{factor}");
        }
        assert_eq!(Aimd::new(100).bounds(1..=10).limit(), 10);
    }
}

use std::{mem, ops::RangeInclusive, time::Duration};

use palisade_settings::{InvalidSetting, literal};

use crate::{LimitAlgorithm, Sample, Verdict, concurrency::bounds::Bounds};

/// Goes by how long round trips take, beside how long they took in the long
/// run: what takes longer waits in a queue of the service.
///
/// As long as round trips take no more than one and a half times that, the limit
/// grows by its square root, a fifth at a time; if they take longer, it shrinks
/// by as much as they do, by half at most. It moves once each round trip, by the
/// mean of ten or more. It does not grow while less than half of it is used. A
/// drop shrinks it by a tenth, once each round trip.
///
/// A service that is slow for good is not overloaded: the long run is some 600
/// round trips long, and the limit follows.
///
/// Where there is never less to do than the service can, the long run comes to
/// hold the queue as well, and the limit creeps up, over thousands of round
/// trips: to its upper bound, which should be one that the service bears.
///
/// ```
/// use palisade_rate_limit::{ConcurrencyLimiter, Gradient2};
///
/// let limiter = ConcurrencyLimiter::adaptive(Gradient2::new(20).bounds(5..=500));
/// assert_eq!(limiter.snapshot().limit, 20);
/// ```
//
// The rules are those of Gradient2Limit in Netflix's concurrency-limits,
// https://github.com/Netflix/concurrency-limits/blob/main/concurrency-limits-core/src/main/java/com/netflix/concurrency/limits/limit/Gradient2Limit.java,
// over the windows of its WindowedLimit. That ignores drops, as a service may fail for any reason;
// here a verdict says whether it has too much to do.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Gradient2 {
    limit: f64,
    bounds: Bounds,
    tolerance: f64,
    smoothing: f64,
    long: LongRun,
    window: Window,
    decreased_at: Option<Duration>,
}

/// As there: how many windows the long run is long.
const LONG_RUN: u32 = 600;
/// Of how many windows it is the mean at first.
const WARM_UP: u32 = 10;
/// The fewest samples in a window.
const WINDOW: u32 = 10;
const DROP: f64 = 0.9;

/// A mean that forgets.
#[derive(Clone, Copy, Debug, PartialEq)]
struct LongRun {
    nanos: f64,
    windows: u32,
    length: u32,
}

/// Samples of one round trip.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Window {
    since: Duration,
    samples: u32,
    nanos: f64,
    in_flight: usize,
}

impl Gradient2 {
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
        Ok(Self {
            limit: initial as f64,
            bounds: Bounds::from(initial)?,
            tolerance: 1.5,
            smoothing: 0.2,
            long: LongRun { nanos: 0.0, windows: 0, length: LONG_RUN },
            window: Window::default(),
            decreased_at: None,
        })
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

    /// Sets how many times longer than in the long run a round trip may take
    /// before the limit shrinks. Defaults to 1.5.
    ///
    /// # Panics
    ///
    /// If it is less than 1.
    #[track_caller]
    pub fn tolerance(self, times: f64) -> Self {
        literal(self.try_tolerance(times))
    }

    /// As [`tolerance`](Self::tolerance), for a value from outside.
    ///
    /// # Errors
    ///
    /// If it is less than 1.
    pub fn try_tolerance(self, times: f64) -> Result<Self, InvalidSetting> {
        match 1.0 <= times && times.is_finite() {
            true => Ok(Self { tolerance: times, ..self }),
            false => Err(InvalidSetting::new(
                "a limit that tolerates less than what is usual always shrinks: write 1.5, or 1 at the least",
            )),
        }
    }

    /// Sets what part of the way to another limit is gone at a time. Defaults
    /// to 0.2.
    ///
    /// # Panics
    ///
    /// If it is not above 0, or above 1.
    #[track_caller]
    pub fn smoothing(self, part: f64) -> Self {
        literal(self.try_smoothing(part))
    }

    /// As [`smoothing`](Self::smoothing), for a value from outside.
    ///
    /// # Errors
    ///
    /// If it is not above 0, or above 1.
    pub fn try_smoothing(self, part: f64) -> Result<Self, InvalidSetting> {
        match 0.0 < part && part <= 1.0 {
            true => Ok(Self { smoothing: part, ..self }),
            false => Err(InvalidSetting::new(
                "a limit goes a part of the way: write 0.2 for a fifth, 1 for all of it at once",
            )),
        }
    }

    /// Sets how many round trips the long run is long. Defaults to 600; 1 at
    /// the least.
    pub fn long_run(mut self, round_trips: u32) -> Self {
        self.long.length = round_trips.max(1);
        self
    }

    fn adapt(&mut self, window: Window) {
        let short = window.nanos / f64::from(window.samples);
        let long = self.long.add(short);
        if 2.0 * short < long {
            // It was overloaded for long, and is not any more: no need to wait until it shows.
            self.long.nanos *= 0.95;
        }
        let used = Sample::new(window.since, Duration::ZERO, window.in_flight, Verdict::Success);
        if !used.reached(self.limit()) {
            return;
        }
        let gradient = (self.tolerance * long / short).clamp(0.5, 1.0);
        let limit = self.limit * gradient + self.limit.sqrt();
        self.limit += (limit - self.limit) * self.smoothing;
    }
}

impl LongRun {
    fn add(&mut self, nanos: f64) -> f64 {
        self.windows = self.windows.saturating_add(1);
        let part = match self.windows <= WARM_UP {
            true => 1.0 / f64::from(self.windows),
            false => 2.0 / (f64::from(self.length) + 1.0),
        };
        self.nanos += (nanos - self.nanos) * part;
        self.nanos
    }
}

impl Window {
    fn since(since: Duration) -> Self {
        Self { since, ..Self::default() }
    }

    /// Adds a sample. The window that ends with it, if one does.
    fn add(&mut self, sample: &Sample) -> Option<Self> {
        self.samples += 1;
        // Whatever takes no time takes a nanosecond.
        self.nanos += (sample.rtt.as_nanos() as f64).max(1.0);
        self.in_flight = self.in_flight.max(sample.in_flight);
        if self.samples < WINDOW || sample.sent_at < self.since {
            return None;
        }
        Some(mem::replace(self, Self::since(sample.ended_at())))
    }
}

/// Begins with 20.
impl Default for Gradient2 {
    fn default() -> Self {
        Self::new(20)
    }
}

impl LimitAlgorithm for Gradient2 {
    fn limit(&self) -> usize {
        self.limit as usize
    }

    fn record(&mut self, sample: &Sample) {
        match sample.verdict {
            Verdict::Success => {
                if let Some(window) = self.window.add(sample) {
                    self.adapt(window);
                }
            }
            Verdict::Dropped if self.decreased_at.is_none_or(|at| at < sample.sent_at) => {
                self.limit *= DROP;
                self.decreased_at = Some(sample.ended_at());
                self.window = Window::since(sample.ended_at());
            }
            _ => {}
        }
        self.limit = self.bounds.clamp(self.limit);
    }

    fn set_limit(&mut self, limit: usize) {
        self.limit = self.bounds.clamp(limit as f64);
        // What was sent under another limit says nothing about this one.
        self.window = Window::since(self.window.since);
    }
}

#[cfg(all(test, not(palisade_shuttle)))]
mod tests {
    use super::*;
    use crate::concurrency::simulation::{Server, run};

    const MILLI: Duration = Duration::from_millis(1);

    const SERVER: Server = Server { capacity: 50, base: MILLI.saturating_mul(20), drops: false };

    #[test]
    fn finds_what_the_service_can_do() {
        let mut gradient = Gradient2::new(5);
        let limits = run(&mut gradient, SERVER, usize::MAX, 50_000);
        let late = &limits[20_000..];
        let (least, most) = (late.iter().min().unwrap(), late.iter().max().unwrap());
        assert!(50 <= *least && *most <= 200, "{least}..={most}");
    }

    #[test]
    fn shrinks_when_the_service_is_slower_and_grows_when_it_is_not() {
        let mut gradient = Gradient2::new(20);
        run(&mut gradient, SERVER, usize::MAX, 20_000);
        let before = gradient.limit();
        let slow = Server { base: SERVER.base * 4, ..SERVER };
        gradient.window = Window::default();
        run(&mut gradient, slow, usize::MAX, 2000);
        let slowed = gradient.limit();
        assert!(slowed < before / 2, "{before}, {slowed}");
        gradient.window = Window::default();
        run(&mut gradient, SERVER, usize::MAX, 20_000);
        let after = gradient.limit();
        assert!(before / 2 < after, "{before}, {slowed}, {after}");
    }

    #[test]
    fn what_is_slow_for_good_is_not_overloaded() {
        let mut gradient = Gradient2::new(20).long_run(50);
        run(&mut gradient, SERVER, 20, 5000);
        gradient.window = Window::default();
        let slow = Server { base: SERVER.base * 4, ..SERVER };
        run(&mut gradient, slow, usize::MAX, 50_000);
        assert!(SERVER.capacity <= gradient.limit(), "{gradient:?}");
    }

    /// One round trip, with a window of its own.
    fn round_trip(gradient: &mut Gradient2, rtt: Duration) {
        let at = gradient.window.since;
        for _ in 0..WINDOW {
            gradient.record(&Sample::new(at, rtt, gradient.limit(), Verdict::Success));
        }
    }

    #[test]
    fn one_round_trip_moves_it_a_bit() {
        // To half of it and its root, or by its root; and a fifth of the way.
        for (rtt, limit) in [(MILLI * 10, 102), (MILLI * 14, 102), (MILLI * 10_000, 92)] {
            let mut gradient = Gradient2::new(100);
            gradient.long = LongRun { nanos: 1e7, windows: 1000, length: u32::MAX };
            round_trip(&mut gradient, rtt);
            assert_eq!(gradient.limit(), limit, "{rtt:?}");
        }
    }

    #[test]
    fn the_long_run_forgets_an_overload_soon() {
        let mut gradient = Gradient2::new(100);
        (0..1000).for_each(|_| round_trip(&mut gradient, MILLI * 1000));
        (0..60).for_each(|_| round_trip(&mut gradient, MILLI * 10));
        assert!(gradient.long.nanos < 5e7, "{:?}", gradient.long);
    }

    #[test]
    fn a_storm_shrinks_it_once_a_round_trip() {
        let mut gradient = Gradient2::new(100);
        let dropped = Sample::new(MILLI, MILLI, 64, Verdict::Dropped);
        (0..64).for_each(|_| gradient.record(&dropped));
        assert_eq!(gradient.limit(), 90);
        gradient.record(&Sample { sent_at: MILLI * 3, ..dropped });
        assert_eq!(gradient.limit(), 81);
        let storm = Server { capacity: 0, base: MILLI * 10, drops: true };
        gradient.decreased_at = None;
        run(&mut gradient, storm, usize::MAX, 5000);
        assert_eq!(gradient.limit(), 1);
    }

    #[test]
    fn what_takes_no_time_is_no_reason_for_anything_odd() {
        let mut gradient = Gradient2::new(10);
        for at in 0..10_000 {
            gradient.record(&Sample::new(MILLI * at, Duration::ZERO, 10, Verdict::Success));
        }
        assert!(10 <= gradient.limit() && gradient.limit() <= 30, "{gradient:?}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(Gradient2::try_new(0).is_err());
        let gradient = Gradient2::default();
        for (value, tolerance, smoothing) in [
            (0.0, false, false),
            (0.2, false, true),
            (1.0, true, true),
            (1.5, true, false),
            (f64::NAN, false, false),
            (f64::INFINITY, false, false),
        ] {
            assert_eq!(gradient.clone().try_tolerance(value).is_ok(), tolerance, "{value}");
            assert_eq!(gradient.clone().try_smoothing(value).is_ok(), smoothing, "{value}");
        }
    }
}

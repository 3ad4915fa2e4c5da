use std::time::Duration;

use palisade_settings::{InvalidSetting, literal};

/// How many requests there may be, in what time.
///
/// A token bucket: requests take tokens, and tokens come back one by one. The
/// burst is how many may be taken at once after a pause; more of it makes short
/// waits rarer, and lets more requests into a window that begins with a full
/// bucket: up to the quota and the burst. Who must never exceed a number in any
/// window takes [`at_most`](Self::at_most).
///
/// ```
/// use std::time::Duration;
/// use palisade_rate_limit::Quota;
///
/// let steady = Quota::per_second(100).burst(20);
/// assert_eq!((steady.interval(), steady.most()), (Duration::from_millis(10), 20));
/// let strict = Quota::at_most(100, Duration::from_secs(1)).burst(10);
/// assert!(Duration::from_secs(1) / 91 <= strict.interval());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Quota {
    // Nanoseconds until a token comes back; none, if there is no limit.
    interval: u64,
    burst: u32,
    kind: Kind,
    count: u32,
    window: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Tokens come back as the quota says.
    Bucket,
    /// So slowly that no window sees more than the quota.
    Strict,
}

const SECOND: u64 = 1_000_000_000;

/// A full bucket must not be further away than this.
const LONGEST: u64 = 1 << 62;

/// How late a request that waited may be let go as if it were on time: timers
/// are late by a millisecond or so. Of each interval as much, within these.
const SLACK: (u64, u64) = (2_000_000, 10_000_000);

impl Quota {
    /// No limit.
    pub const UNLIMITED: Self =
        Self { interval: 0, burst: u32::MAX, kind: Kind::Bucket, count: u32::MAX, window: SECOND };

    /// So many in each second, and a tenth of that at once.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn per_second(count: u32) -> Self {
        literal(Self::try_new(count, Duration::from_secs(1)))
    }

    /// So many in each minute, and a tenth of that at once.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn per_minute(count: u32) -> Self {
        literal(Self::try_new(count, Duration::from_secs(60)))
    }

    /// So many in each hour, and a tenth of that at once.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn per_hour(count: u32) -> Self {
        literal(Self::try_new(count, Duration::from_secs(3600)))
    }

    /// One in each interval.
    ///
    /// # Panics
    ///
    /// If the interval is zero, or above a hundred years.
    #[track_caller]
    pub fn every(interval: Duration) -> Self {
        literal(Self::try_new(1, interval))
    }

    /// So many in each period, and a tenth of that at once, for values from
    /// outside.
    ///
    /// # Errors
    ///
    /// If either is zero, or the period above a hundred years.
    pub fn try_new(count: u32, period: Duration) -> Result<Self, InvalidSetting> {
        Self::of(count, period, (count / 10).max(1), Kind::Bucket)
    }

    /// Never more than so many in any window of this length, wherever it
    /// begins, and one at once.
    ///
    /// To keep that, tokens come back more slowly the greater the burst is: with
    /// a hundred in a second and a burst of 10, there are 91 in the long run.
    /// This is the rule by the time at which requests are let go; on their way
    /// they may draw closer.
    ///
    /// # Panics
    ///
    /// If either is zero, or the window above a hundred years.
    #[track_caller]
    pub fn at_most(count: u32, window: Duration) -> Self {
        literal(Self::try_at_most(count, window))
    }

    /// As [`at_most`](Self::at_most), for values from outside.
    ///
    /// # Errors
    ///
    /// If either is zero, or the window above a hundred years.
    pub fn try_at_most(count: u32, window: Duration) -> Result<Self, InvalidSetting> {
        Self::of(count, window, 1, Kind::Strict)
    }

    /// Sets how many may be taken at once.
    ///
    /// Timers are late by a millisecond or more. So a request that waited counts
    /// as on time if it is late by an interval at most, where that is from 2 to
    /// 10 milliseconds, or by the nearer of these: of a quota with shorter
    /// intervals, several are let go together.
    ///
    /// # Panics
    ///
    /// If it is zero, or more than [`at_most`](Self::at_most) allows in all, or
    /// so many that it takes above a hundred years until they are back.
    #[track_caller]
    pub fn burst(self, burst: u32) -> Self {
        literal(self.try_burst(burst))
    }

    /// As [`burst`](Self::burst), for a value from outside.
    ///
    /// # Errors
    ///
    /// If it is zero, or more than [`at_most`](Self::at_most) allows in all, or
    /// so many that it takes above a hundred years until they are back.
    pub fn try_burst(self, burst: u32) -> Result<Self, InvalidSetting> {
        match self.interval {
            0 => Ok(self),
            _ => Self::of(self.count, Duration::from_nanos(self.window), burst, self.kind),
        }
    }

    fn of(count: u32, period: Duration, burst: u32, kind: Kind) -> Result<Self, InvalidSetting> {
        let window = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        if count == 0 || window == 0 {
            return Err(InvalidSetting::new(
                "a quota of nothing lets nothing through: write at least 1, in a time above zero",
            ));
        }
        if burst == 0 {
            return Err(InvalidSetting::new(
                "a burst of nothing lets nothing through: write 1 at the least",
            ));
        }
        let interval = match kind {
            Kind::Bucket => window.div_ceil(u64::from(count)),
            Kind::Strict => {
                let Some(steady) = count.checked_sub(burst) else {
                    return Err(InvalidSetting::new(
                        "a burst above the quota breaks it at once: write no more than the quota",
                    ));
                };
                let steady = u64::from(steady) + 1;
                // What is let go late counts as on time, and so may come closer to the next.
                window.saturating_add(strict_slack(window, steady)).div_ceil(steady)
            }
        };
        if LONGEST < interval.saturating_mul(u64::from(burst)) {
            return Err(InvalidSetting::new(
                "a bucket that takes above a hundred years to fill is none: write a shorter time, \
                 or a smaller burst",
            ));
        }
        Ok(Self { interval, burst, kind, count, window })
    }

    /// How long until a token comes back; zero, if there is no limit.
    pub fn interval(&self) -> Duration {
        Duration::from_nanos(self.interval)
    }

    /// How many may be taken at once.
    pub fn most(&self) -> u32 {
        self.burst
    }

    /// How many there may be in a [`window`](Self::window), as the quota was
    /// written.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The time that the quota is for, as it was written.
    pub fn window(&self) -> Duration {
        Duration::from_nanos(self.window)
    }

    pub(crate) fn slack(&self) -> u64 {
        match self.kind {
            Kind::Bucket => slack(self.interval),
            // Not more than its interval makes up for.
            Kind::Strict => strict_slack(self.window, u64::from(self.count - self.burst) + 1),
        }
    }
}

fn slack(interval: u64) -> u64 {
    interval.clamp(SLACK.0, SLACK.1)
}

fn strict_slack(window: u64, steady: u64) -> u64 {
    slack(window.div_ceil(steady))
}

/// Its interval and its burst.
///
/// ```
/// use std::num::NonZeroU32;
/// use palisade_rate_limit::Quota;
///
/// let ten = NonZeroU32::new(10).expect("not zero");
/// let quota = Quota::from(governor::Quota::per_second(ten));
/// assert_eq!(quota, Quota::per_second(10).burst(10));
/// ```
impl From<governor::Quota> for Quota {
    fn from(quota: governor::Quota) -> Self {
        let burst = quota.burst_size().get();
        let interval = u64::try_from(quota.replenish_interval().as_nanos()).unwrap_or(LONGEST);
        // What governor takes may be beyond all bounds.
        let interval = interval.clamp(1, LONGEST / u64::from(burst));
        let window = interval.saturating_mul(u64::from(burst));
        Self { interval, burst, kind: Kind::Bucket, count: burst, window }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_no_faster_than_the_quota_says() {
        for (quota, interval, burst) in [
            (Quota::per_second(1), SECOND, 1),
            (Quota::per_second(100), 10_000_000, 10),
            (Quota::per_second(3), 333_333_334, 1),
            (Quota::per_second(300_000_000), 4, 30_000_000),
            (Quota::per_minute(60).burst(5), SECOND, 5),
            (Quota::per_hour(3600), SECOND, 360),
            (Quota::every(Duration::from_millis(250)), 250_000_000, 1),
            // 1 s and 10 ms of slack, in 100 parts; and in 91.
            (Quota::at_most(100, Duration::from_secs(1)), 10_100_000, 1),
            (Quota::at_most(100, Duration::from_secs(1)).burst(10), 11_098_902, 10),
            (Quota::at_most(5, Duration::from_secs(1)).burst(5), SECOND + 10_000_000, 5),
            (Quota::UNLIMITED.burst(7), 0, u32::MAX),
        ] {
            assert_eq!((quota.interval, quota.burst), (interval, burst), "{quota:?}");
        }
    }

    #[test]
    fn what_lets_nothing_through_is_refused() {
        let second = Duration::from_secs(1);
        for quota in [
            Quota::try_new(0, second),
            Quota::try_new(1, Duration::ZERO),
            Quota::try_new(1, Duration::MAX),
            Quota::try_at_most(0, second),
            Quota::per_second(1).try_burst(0),
            Quota::at_most(10, second).try_burst(11),
            Quota::per_hour(1).try_burst(u32::MAX),
        ] {
            assert!(quota.is_err(), "{quota:?}");
        }
    }
}

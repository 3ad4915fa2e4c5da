use std::time::Duration;

use tokio::time::Instant;

use super::Ttl;

/// How long an answer is of use, before and after its time is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    /// By which share of it, at most, a time is cut short.
    pub(crate) jitter: f64,
    /// How eagerly answers are refreshed before their time is over; zero if not at all.
    pub(crate) early: f64,
    /// How long an answer is given after its time, while it is refreshed.
    pub(crate) revalidate: Duration,
    /// How long an answer is given after its time, if there is no other.
    pub(crate) on_error: Duration,
}

/// Until when an answer is fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Freshness {
    // For ever, if none.
    until: Option<Instant>,
    // From when on to think of refreshing it, and the lead of the middle one.
    early: Option<(Instant, Duration)>,
}

/// How old an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// It is as good as a new one.
    Fresh,
    /// As good as a new one, and to be refreshed all the same.
    Due,
    /// To be given while it is refreshed.
    Stale,
    /// At best of use where there is no other.
    Expired,
}

/// The least that `-ln(1 - unit)` is not below, of all numbers that an `f64` has in `0.0..1.0`.
const LONGEST: f64 = 37.0;

impl Windows {
    pub(crate) const NONE: Self =
        Self { jitter: 0.0, early: 0.0, revalidate: Duration::ZERO, on_error: Duration::ZERO };

    /// Until when an answer is fresh that came now, and took so long; nothing,
    /// if it is of no use to anybody else.
    pub(crate) fn begin(
        &self,
        ttl: Ttl,
        now: Instant,
        took: Duration,
        unit: impl FnOnce() -> f64,
    ) -> Option<Freshness> {
        let ttl = match ttl {
            Ttl::Never => return None,
            Ttl::Forever => return Some(Freshness::FOREVER),
            Ttl::For(ttl) if self.jitter == 0.0 => ttl,
            Ttl::For(ttl) => ttl.saturating_sub(times(ttl, self.jitter * unit())),
        };
        if ttl.is_zero() && self.revalidate.is_zero() && self.on_error.is_zero() {
            return None;
        }
        // A time that no clock will show is no limit.
        let Some(until) = now.checked_add(ttl) else {
            return Some(Freshness::FOREVER);
        };
        let lead = times(took, self.early);
        let early = (!lead.is_zero())
            .then(|| (until.checked_sub(times(lead, LONGEST)).unwrap_or(now), lead));
        Some(Freshness { until: Some(until), early })
    }

    /// How old that is by now. The clock is read, and a number drawn, only where
    /// they decide.
    #[inline]
    pub(crate) fn age(
        &self,
        freshness: &Freshness,
        now: impl FnOnce() -> Instant,
        unit: impl FnOnce() -> f64,
    ) -> Age {
        let Some(until) = freshness.until else {
            return Age::Fresh;
        };
        let now = now();
        if now < until {
            return match freshness.early {
                Some((from, lead)) if from <= now && is_due(until - now, lead, unit()) => Age::Due,
                _ => Age::Fresh,
            };
        }
        match now - until < self.revalidate {
            true => Age::Stale,
            false => Age::Expired,
        }
    }

    /// Whether the answer may stand in for one that could not be had.
    pub(crate) fn stands_in(&self, freshness: &Freshness, now: Instant) -> bool {
        // Who is given it while it is refreshed is given it as well if that fails.
        let window = self.on_error.max(self.revalidate);
        freshness.until.is_none_or(|until| now < until || now - until < window)
    }
}

impl Freshness {
    pub(crate) const FOREVER: Self = Self { until: None, early: None };
}

/// Whether to refresh with so much time left: ever more likely the closer the
/// end is, and the longer a refresh takes. This is XFetch (Vattani, Chierichetti,
/// Lowenstein: Optimal Probabilistic Cache Stampede Prevention, 2015).
fn is_due(left: Duration, lead: Duration, unit: f64) -> bool {
    left <= times(lead, -(1.0 - unit).ln())
}

/// Some multiple of a duration, or the longest there is.
fn times(duration: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn unread<T>() -> T {
        panic!("nothing hangs on it")
    }

    #[test]
    fn an_answer_ages() {
        let windows = Windows { revalidate: 5 * SECOND, on_error: 20 * SECOND, ..Windows::NONE };
        let began = Instant::now();
        let ttl = Ttl::For(10 * SECOND);
        let freshness = windows.begin(ttl, began, SECOND, unread).unwrap();
        for (millis, age, stands_in) in [
            (0, Age::Fresh, true),
            (9_999, Age::Fresh, true),
            (10_000, Age::Stale, true),
            (14_999, Age::Stale, true),
            (15_000, Age::Expired, true),
            (29_999, Age::Expired, true),
            (30_000, Age::Expired, false),
        ] {
            let now = began + Duration::from_millis(millis);
            assert_eq!(windows.age(&freshness, || now, unread), age, "{millis}");
            assert_eq!(windows.stands_in(&freshness, now), stands_in, "{millis}");
        }
    }

    #[test]
    fn keeps_what_may_be_of_use() {
        let now = Instant::now();
        let stale = Windows { on_error: SECOND, ..Windows::NONE };
        for (windows, ttl, kept) in [
            (Windows::NONE, Ttl::Never, false),
            (Windows::NONE, Ttl::For(Duration::ZERO), false),
            (Windows::NONE, Ttl::For(Duration::from_nanos(1)), true),
            (Windows::NONE, Ttl::Forever, true),
            (stale, Ttl::Never, false),
            (stale, Ttl::For(Duration::ZERO), true),
        ] {
            let begun = windows.begin(ttl, now, Duration::ZERO, unread);
            assert_eq!(begun.is_some(), kept, "{windows:?} {ttl:?}");
        }
    }

    #[test]
    fn what_never_ends_reads_no_clock() {
        let now = Instant::now();
        for ttl in [Ttl::Forever, Ttl::For(Duration::MAX)] {
            let freshness = Windows::NONE.begin(ttl, now, SECOND, unread).unwrap();
            assert_eq!(Windows::NONE.age(&freshness, unread, unread), Age::Fresh);
            assert!(Windows::NONE.stands_in(&freshness, now));
        }
    }

    #[test]
    fn is_refreshed_early_the_more_likely_the_closer_the_end() {
        let windows = Windows { early: 1.0, ..Windows::NONE };
        let began = Instant::now();
        let freshness = windows.begin(Ttl::For(100 * SECOND), began, SECOND, unread).unwrap();
        let age = |left: u32, unit: f64| {
            windows.age(&freshness, || began + (100 - left) * SECOND, || unit)
        };
        // Far from the end, no number is even drawn.
        assert_eq!(windows.age(&freshness, || began + 50 * SECOND, unread), Age::Fresh);
        // A lead of one second: one in e is drawn above it.
        let one_in_e = 1.0 - (-1.0_f64).exp();
        assert_eq!(age(1, one_in_e - 0.01), Age::Fresh);
        assert_eq!(age(1, one_in_e + 0.01), Age::Due);
        assert_eq!(age(20, 0.999_999), Age::Fresh);
        assert_eq!(age(20, 1.0 - f64::EPSILON), Age::Due);
    }

    proptest! {
        #[test]
        fn jitter_cuts_short_by_its_share_at_most(
            millis in 1..u64::MAX,
            jitter in 0.0..=1.0,
            unit in 0.0..1.0,
        ) {
            let ttl = Duration::from_millis(millis);
            let windows = Windows { jitter, ..Windows::NONE };
            let now = Instant::now();
            let Some(freshness) = windows.begin(Ttl::For(ttl), now, SECOND, || unit) else {
                return Ok(());
            };
            if let Some(until) = freshness.until {
                let kept = until - now;
                let least = ttl.saturating_sub(times(ttl, jitter)).saturating_sub(SECOND);
                prop_assert!(least <= kept && kept <= ttl, "{kept:?}");
            }
        }

        #[test]
        fn no_settings_make_it_panic(
            ttl in any::<Duration>(), took in any::<Duration>(), later in 0..u64::MAX / 4,
            early in 0.0..1e300, unit in 0.0..1.0,
            revalidate in any::<Duration>(), on_error in any::<Duration>(),
        ) {
            let windows = Windows { jitter: 0.5, early, revalidate, on_error };
            let began = Instant::now();
            let freshness = windows.begin(Ttl::For(ttl), began, took, || unit);
            let now = began.checked_add(Duration::from_nanos(later)).unwrap_or(began);
            if let Some(freshness) = freshness {
                windows.age(&freshness, || now, || unit);
                windows.stands_in(&freshness, now);
            }
        }
    }
}

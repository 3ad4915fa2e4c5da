use std::{cell::Cell, num::NonZeroU32, ops::Add, sync::atomic::Ordering, time::Duration};

use governor::{
    NotUntil, RateLimiter,
    clock::{Clock, Reference},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{NotKeyed, StateStore},
};

use crate::{
    Quota,
    sync::{AtomicU32, AtomicU64},
};

/// A token bucket: governor's arithmetic (GCRA), over a word of our own.
///
/// The word is the time at which the bucket would be full: that it is ours lets
/// tokens be given back, charged after the fact, and counted, and the quota
/// change. Times are nanoseconds since the limiter was made.
#[derive(Debug)]
pub(crate) struct Bucket {
    full_at: AtomicU64,
    // Changed one after the other: a decision in between goes by one of each.
    interval: AtomicU64,
    burst: AtomicU32,
    slack: AtomicU64,
}

/// No debt goes beyond: 292 years.
const FARTHEST: u64 = 1 << 63;

/// Why there are not enough tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Short {
    /// There will be, then.
    Until(u64),
    /// There will never be so many at once.
    Never,
    /// There may be at any time.
    Unforeseen,
}

impl Bucket {
    pub(crate) fn new(quota: Quota) -> Self {
        let bucket = Self {
            full_at: AtomicU64::new(0),
            interval: AtomicU64::new(0),
            burst: AtomicU32::new(1),
            slack: AtomicU64::new(0),
        };
        bucket.retune(quota);
        bucket
    }

    /// Goes by this quota from now on. What was taken stays taken.
    pub(crate) fn retune(&self, quota: Quota) {
        self.interval.store(nanos(quota.interval()), Ordering::Relaxed);
        self.burst.store(quota.most(), Ordering::Relaxed);
        self.slack.store(quota.slack(), Ordering::Relaxed);
    }

    /// Takes so many tokens.
    #[inline]
    pub(crate) fn take(&self, now: u64, cost: NonZeroU32) -> Result<(), Short> {
        self.take_from(&self.full_at, now, cost)
    }

    /// The same of another bucket, of which there is but the word.
    #[inline]
    pub(crate) fn take_from(
        &self,
        full_at: &AtomicU64,
        now: u64,
        cost: NonZeroU32,
    ) -> Result<(), Short> {
        let burst = NonZeroU32::new(self.burst.load(Ordering::Relaxed));
        let interval = self.interval_within(burst);
        let period = governor::Quota::with_period(Duration::from_nanos(interval));
        let (Some(burst), Some(period)) = (burst, period) else {
            // No interval: no limit.
            return Ok(());
        };
        // governor asks its clock as it is made, and counts from then: from our beginning.
        let time = Handed(Cell::new(0));
        let limiter: RateLimiter<_, _, _, NoOpMiddleware<At>> =
            RateLimiter::new(period.allow_burst(burst), FullAt(full_at), &time);
        time.0.set(now);
        match limiter.check_n(cost) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(until)) => Err(Short::Until(NotUntil::earliest_possible(&until).0)),
            Err(_) => Err(Short::Never),
        }
    }

    /// Goes on where another bucket was that was full at that time.
    pub(crate) fn go_on(&self, full_at: u64) {
        self.full_at.store(full_at, Ordering::Relaxed);
    }

    /// Takes so many tokens for a request that waited for them: if it is late,
    /// as timers make it, then as if it were not.
    pub(crate) fn take_late(&self, now: u64, cost: NonZeroU32) -> Result<(), Short> {
        let slack = self.slack.load(Ordering::Relaxed);
        let on_time = self.there_at(u64::from(cost.get())).clamp(now.saturating_sub(slack), now);
        self.take(on_time, cost)
    }

    /// Gives so many tokens back. The bucket is never more than full.
    pub(crate) fn refund(&self, count: u32) {
        let back = self.worth(count.into());
        self.update(|full_at| full_at.saturating_sub(back));
    }

    /// Takes so many tokens whether they are there or not.
    pub(crate) fn charge(&self, now: u64, count: u32) {
        let more = self.worth(count.into());
        // governor adds to it without a look: no more than fits twice.
        self.update(|full_at| full_at.max(now).saturating_add(more).min(FARTHEST));
    }

    /// When so many tokens are there, if nobody takes any before.
    pub(crate) fn there_at(&self, count: u64) -> u64 {
        if self.interval() == 0 {
            // No limit, whatever was taken under one.
            return 0;
        }
        let full_at = self.full_at.load(Ordering::Relaxed);
        let burst = self.worth(self.burst.load(Ordering::Relaxed).into());
        full_at.saturating_add(self.worth(count)).saturating_sub(burst)
    }

    /// How many tokens are there.
    pub(crate) fn there(&self, now: u64) -> u32 {
        let burst = self.burst.load(Ordering::Relaxed);
        let missing = self.full_at.load(Ordering::Relaxed).saturating_sub(now);
        let missing = match self.interval() {
            0 => 0,
            interval => missing.div_ceil(interval),
        };
        burst.saturating_sub(u32::try_from(missing).unwrap_or(u32::MAX))
    }

    /// Whether it is as if nobody had ever taken anything.
    pub(crate) fn is_full(&self, now: u64) -> bool {
        self.full_at.load(Ordering::Relaxed) <= now
    }

    /// When it has all of its tokens.
    pub(crate) fn full_at(&self) -> u64 {
        self.full_at.load(Ordering::Relaxed)
    }

    pub(crate) fn burst(&self) -> u32 {
        self.burst.load(Ordering::Relaxed)
    }

    fn interval(&self) -> u64 {
        self.interval.load(Ordering::Relaxed)
    }

    /// The interval, as far as such a burst of it is within bounds: halfway through
    /// a change it may not be, and governor multiplies without a look.
    #[inline]
    fn interval_within(&self, burst: Option<NonZeroU32>) -> u64 {
        let interval = self.interval();
        let burst = burst.map_or(1, |burst| burst.get().into());
        match interval.checked_mul(burst) {
            Some(full) if full <= FARTHEST => interval,
            _ => FARTHEST / burst,
        }
    }

    fn worth(&self, count: u64) -> u64 {
        self.interval().saturating_mul(count)
    }

    fn update(&self, change: impl Fn(u64) -> u64) {
        // Never refused.
        let _ = self
            .full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| Some(change(full_at)));
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// governor's state: our word.
struct FullAt<'a>(&'a AtomicU64);

impl StateStore for FullAt<'_> {
    type Key = NotKeyed;

    #[inline]
    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut there = self.0.load(Ordering::Relaxed);
        loop {
            let (answer, next) = f(Some(there.into()))?;
            let next = next.as_u64();
            match self.0.compare_exchange_weak(there, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(answer),
                Err(other) => there = other,
            }
        }
    }
}

/// A clock that says what it was handed.
struct Handed(Cell<u64>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct At(u64);

impl Clock for &Handed {
    type Instant = At;

    #[inline]
    fn now(&self) -> At {
        At(self.0.get())
    }
}

impl Reference for At {
    #[inline]
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_sub(earlier.0).into()
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.saturating_sub(duration.as_u64()))
    }
}

impl Add<Nanos> for At {
    type Output = Self;

    #[inline]
    fn add(self, nanos: Nanos) -> Self {
        Self(self.0.saturating_add(nanos.as_u64()))
    }
}

#[cfg(all(test, not(palisade_shuttle)))]
mod tests {
    use std::sync::Arc;

    use governor::clock::FakeRelativeClock;
    use proptest::prelude::*;

    use super::*;

    const MILLI: u64 = 1_000_000;

    fn cost(cost: u32) -> NonZeroU32 {
        NonZeroU32::MIN.saturating_add(cost - 1)
    }

    /// One token each 10 ms, and so many at once.
    fn bucket(burst: u32) -> Bucket {
        Bucket::new(Quota::per_second(100).burst(burst))
    }

    proptest! {
        #[test]
        fn decides_as_governor_does(
            (count, burst) in (1..2000_u32, 1..50_u32),
            steps in prop::collection::vec((0..30 * MILLI, 1..60_u32), 1..100),
        ) {
            let quota = Quota::per_second(count).burst(burst);
            let bucket = Bucket::new(quota);
            let clock = FakeRelativeClock::default();
            let period = governor::Quota::with_period(quota.interval()).unwrap();
            let theirs = RateLimiter::direct_with_clock(period.allow_burst(cost(burst)), clock.clone());
            let mut now = 0;
            for (wait, weight) in steps {
                now += wait;
                clock.advance(Duration::from_nanos(wait));
                let expected = match theirs.check_n(cost(weight)) {
                    Err(_) => Err(Short::Never),
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(until)) => {
                        let until = until.wait_time_from(Duration::from_nanos(now).into());
                        Err(Short::Until(now + nanos(until)))
                    }
                };
                prop_assert_eq!(bucket.take(now, cost(weight)), expected);
            }
        }

        #[test]
        fn no_window_sees_more_than_a_strict_quota(
            (count, share) in (1..30_u32, 0.0..1.0),
            steps in prop::collection::vec((0..300 * MILLI, any::<bool>()), 1..200),
        ) {
            let burst = 1 + (share * f64::from(count - 1)) as u32;
            let second = Duration::from_secs(1);
            let bucket = Bucket::new(Quota::at_most(count, second).burst(burst));
            let mut let_go = Vec::new();
            let mut now = 0;
            for (wait, late) in steps {
                now += wait;
                let taken = if late { bucket.take_late(now, cost(1)) } else { bucket.take(now, cost(1)) };
                if taken.is_ok() {
                    let_go.push(now);
                }
            }
            for (index, begin) in let_go.iter().enumerate() {
                let within = let_go[index..].iter().filter(|at| **at < begin + nanos(second)).count();
                prop_assert!(within <= count as usize, "{within} of {count} from {begin}");
            }
        }

        #[test]
        fn what_is_given_back_is_as_if_it_were_never_taken(
            burst in 1..20_u32,
            taken in prop::collection::vec(1..20_u32, 0..20),
            now in 0..MILLI,
        ) {
            let bucket = bucket(burst);
            let before = bucket.there(now);
            let granted: Vec<_> =
                taken.into_iter().filter(|taken| bucket.take(now, cost(*taken)).is_ok()).collect();
            granted.into_iter().for_each(|taken| bucket.refund(taken));
            prop_assert_eq!(bucket.there(now), before);
        }
    }

    #[test]
    fn counts_tokens() {
        let bucket = bucket(5);
        assert_eq!((bucket.there(0), bucket.is_full(0)), (5, true));
        bucket.take(0, cost(3)).unwrap();
        assert_eq!((bucket.there(0), bucket.there(9 * MILLI), bucket.there(10 * MILLI)), (2, 2, 3));
        assert_eq!(bucket.there_at(4), 20 * MILLI);
        assert_eq!(bucket.take(0, cost(4)), Err(Short::Until(20 * MILLI)));
        assert_eq!(bucket.take(0, cost(6)), Err(Short::Never));
        bucket.charge(0, 10);
        assert_eq!((bucket.there(0), bucket.there_at(1)), (0, 90 * MILLI));
        bucket.refund(u32::MAX);
        assert_eq!(bucket.there(0), 5);
    }

    #[test]
    fn who_waited_is_not_late() {
        let bucket = bucket(1);
        bucket.take(0, cost(1)).unwrap();
        // The timer is 3 ms late, and the next one is due as if it were not.
        bucket.take_late(13 * MILLI, cost(1)).unwrap();
        assert_eq!(bucket.there_at(1), 20 * MILLI);
        // By more than an interval, it is.
        bucket.take_late(60 * MILLI, cost(1)).unwrap();
        assert_eq!(bucket.there_at(1), 60 * MILLI);
    }

    #[test]
    fn goes_by_another_quota_from_now_on() {
        let bucket = bucket(1);
        bucket.take(0, cost(1)).unwrap();
        bucket.retune(Quota::per_second(1000).burst(1));
        assert_eq!(bucket.take(0, cost(1)), Err(Short::Until(10 * MILLI)));
        bucket.take(10 * MILLI, cost(1)).unwrap();
        assert_eq!(bucket.take(10 * MILLI, cost(1)), Err(Short::Until(11 * MILLI)));
        bucket.retune(Quota::UNLIMITED);
        assert_eq!(bucket.take(10 * MILLI, cost(1000)), Ok(()));
    }

    #[test]
    fn halfway_through_a_change_is_no_overflow() {
        // The interval of the new quota, and the burst of the old one.
        let bucket = Bucket::new(Quota::UNLIMITED);
        bucket.interval.store(nanos(Duration::from_secs(3600)), Ordering::Relaxed);
        bucket.take(0, cost(1)).unwrap();
        bucket.take_late(u64::MAX / 4, cost(u32::MAX)).unwrap();
        assert!(bucket.full_at.load(Ordering::Relaxed) < u64::MAX);
    }

    #[test]
    fn the_end_of_time_is_no_overflow() {
        let quota = Quota::every(Duration::from_nanos(1 << 61)).burst(2);
        let bucket = Bucket::new(quota);
        bucket.take(0, cost(1)).unwrap();
        for _ in 0..10 {
            bucket.charge(u64::MAX, u32::MAX);
        }
        assert_eq!(bucket.take(u64::MAX / 4, cost(2)), Err(Short::Until(FARTHEST)));
        assert_eq!(bucket.there(0), 0);
    }

    #[test]
    fn threads_take_no_more_than_there_is() {
        let bucket = Arc::new(bucket(1000));
        let granted: usize = std::thread::scope(|scope| {
            let take = || (0..500).filter(|_| bucket.take(0, cost(1)).is_ok()).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(granted, 1000);
    }
}

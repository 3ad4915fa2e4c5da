use std::{
    iter,
    num::NonZeroU32,
    sync::{Arc, OnceLock, atomic::Ordering},
};

use crate::{
    Quota,
    admit::Admit,
    bucket::{Bucket, Short},
    feedback::FeedbackSettings,
    fields::QuotaState,
    server::{Learned, Server},
    shared::Settings,
    sync::{AtomicU64, Mutex, MutexGuard, lock},
};

/// All that a request has to pass at once: some buckets, and a pause.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Limits {
    // Nothing goes before.
    paused_until: AtomicU64,
    // Here and not behind a pointer: of most there is but one, and of keys there are many.
    first: Bucket,
    others: Box<[Bucket]>,
    over_burst: OverBurst,
    // Nothing, as long as nobody has anything to learn.
    server: OnceLock<Box<Server>>,
    // As they were written, if not as in the settings.
    quotas: Mutex<Option<Box<[Quota]>>>,
}

/// What becomes of a request that costs more than the burst, and so more than
/// there ever is at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OverBurst {
    /// It is refused. The default.
    #[default]
    Refuse,
    /// It waits until the bucket is full, and takes what is missing from those
    /// that come after it. By itself it exceeds a [strict
    /// quota](Quota::at_most).
    Debt,
}

impl Limits {
    pub(crate) fn new(
        first: Quota,
        others: &[Quota],
        over_burst: OverBurst,
        server: Option<Server>,
    ) -> Self {
        Self {
            paused_until: AtomicU64::new(0),
            first: Bucket::new(first),
            others: others.iter().copied().map(Bucket::new).collect(),
            over_burst,
            server: server.map(Box::new).map_or_else(OnceLock::new, OnceLock::from),
            quotas: Mutex::new(None),
        }
    }

    /// What the server lets through. Asked for, it is gone by from now on.
    pub(crate) fn server(&self) -> &Server {
        // Who reports knows what was taken.
        let settings = || FeedbackSettings { costs: true, ..FeedbackSettings::default() };
        let learned = || Arc::new(Learned::new(settings()));
        self.server.get_or_init(|| Box::new(Server::new(learned(), None, false)))
    }

    fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        iter::once(&self.first).chain(&self.others)
    }

    /// Takes so many tokens from each bucket, or none from any.
    ///
    /// Two threads that try at once may both find too few, where one alone would
    /// not: never too many.
    #[inline]
    pub(crate) fn take(&self, now: u64, cost: u32) -> Result<(), Short> {
        self.take_by(now, cost, Bucket::take)
    }

    /// As [`take`](Self::take), for who has waited in line.
    pub(crate) fn take_late(&self, now: u64, cost: u32) -> Result<(), Short> {
        self.take_by(now, cost, Bucket::take_late)
    }

    #[inline]
    fn take_by(
        &self,
        now: u64,
        cost: u32,
        take: impl Fn(&Bucket, u64, NonZeroU32) -> Result<(), Short>,
    ) -> Result<(), Short> {
        let paused_until = self.paused_until.load(Ordering::Relaxed);
        if now < paused_until {
            return Err(self.short(0, cost));
        }
        let Some(server) = self.server.get() else {
            return self.take_tokens(now, cost, take);
        };
        match server.take(now, cost, || self.take_tokens(now, cost, take)) {
            // What the quotas lack counts as well.
            Err(Short::Until(at)) => Err(Short::Until(at.max(self.there_at(0, cost)))),
            taken => taken,
        }
    }

    #[inline]
    fn take_tokens(
        &self,
        now: u64,
        cost: u32,
        take: impl Fn(&Bucket, u64, NonZeroU32) -> Result<(), Short>,
    ) -> Result<(), Short> {
        if !self.others.is_empty() {
            // A look first, as what is taken from one and then given back is missed by others.
            match self.quotas_short(0, cost) {
                Short::Until(at) if at <= now => {}
                short => return Err(short),
            }
        }
        for (index, bucket) in self.buckets().enumerate() {
            let Some(due) = NonZeroU32::new(self.due(bucket, cost)) else {
                continue;
            };
            if let Err(short) = take(bucket, now, due) {
                for before in self.buckets().take(index) {
                    before.refund(self.due(before, cost));
                }
                return Err(match short {
                    // What others lack counts as well.
                    Short::Until(at) => Short::Until(at.max(self.quotas_there_at(0, cost))),
                    short => short,
                });
            }
        }
        if self.over_burst == OverBurst::Debt {
            for bucket in self.buckets() {
                bucket.owe(cost - self.due(bucket, cost));
            }
        }
        Ok(())
    }

    /// What has to be there of the cost.
    fn due(&self, bucket: &Bucket, cost: u32) -> u32 {
        match self.over_burst {
            OverBurst::Refuse => cost,
            OverBurst::Debt => cost.min(bucket.burst()),
        }
    }

    /// Why there are not so many tokens after others have taken theirs.
    pub(crate) fn short(&self, before: u64, cost: u32) -> Short {
        match self.quotas_short(before, cost) {
            Short::Until(_) => Short::Until(self.there_at(before, cost)),
            short => short,
        }
    }

    fn quotas_short(&self, before: u64, cost: u32) -> Short {
        if self.buckets().any(|bucket| bucket.burst() < self.due(bucket, cost)) {
            return Short::Never;
        }
        Short::Until(self.quotas_there_at(before, cost))
    }

    /// When so many may go, if only those go before.
    fn there_at(&self, before: u64, cost: u32) -> u64 {
        let server = self.server.get();
        let free_at = server.map_or(0, |server| server.free_at(before, cost));
        self.quotas_there_at(before, cost).max(free_at)
    }

    /// When so many tokens are there in all buckets, if only those take any before.
    fn quotas_there_at(&self, before: u64, cost: u32) -> u64 {
        let paused_until = self.paused_until.load(Ordering::Relaxed);
        let there_at =
            |bucket: &Bucket| bucket.there_at(before.saturating_add(self.due(bucket, cost).into()));
        self.buckets().map(there_at).fold(paused_until, u64::max)
    }

    pub(crate) fn refund(&self, count: u32) {
        self.buckets().for_each(|bucket| bucket.refund(count));
    }

    /// Refunds what was let go, and is not sent.
    pub(crate) fn give_back(&self, count: u32) {
        self.refund(count);
        if let Some(server) = self.server.get() {
            server.give_back(count);
        }
    }

    pub(crate) fn charge(&self, now: u64, count: u32) {
        self.buckets().for_each(|bucket| bucket.charge(now, count));
    }

    /// How many tokens there are, in the bucket with the fewest, or as the server
    /// says.
    pub(crate) fn there(&self, now: u64) -> u32 {
        let server = self.server.get().and_then(|server| server.left(now));
        let server = server.and_then(|left| u32::try_from(left).ok());
        let buckets = self.buckets().map(|bucket| bucket.there(now));
        buckets.chain(server).min().unwrap_or(u32::MAX)
    }

    /// Goes by other quotas from now on, as many as there are.
    pub(crate) fn retune(&self, now: u64, quotas: &[Quota]) {
        *self.retuned_to() = Some(quotas.into());
        self.buckets().zip(quotas).for_each(|(bucket, quota)| bucket.retune(now, *quota));
    }

    fn retuned_to(&self) -> MutexGuard<'_, Option<Box<[Quota]>>> {
        lock(&self.quotas)
    }

    /// The quota of a bucket, as it was written.
    fn quota(&self, settings: &Settings, index: usize) -> Quota {
        match (&*self.retuned_to(), index.checked_sub(1)) {
            (Some(quotas), _) => quotas[index],
            (None, None) => settings.quota,
            (None, Some(other)) => settings.others[other],
        }
    }

    /// Each quota as it is now.
    pub(crate) fn states(&self, settings: &Settings, now: u64) -> Vec<QuotaState> {
        let state = |(index, bucket): (usize, &Bucket)| {
            let quota = self.quota(settings, index);
            QuotaState::of(quota, bucket.there(now), bucket.there_at(1).saturating_sub(now))
        };
        self.buckets().enumerate().map(state).collect()
    }

    /// Goes on where a bucket was that was full at that time, as the first one.
    pub(crate) fn go_on(&self, full_at: u64) {
        self.first.go_on(full_at);
    }

    pub(crate) fn len(&self) -> usize {
        self.others.len() + 1
    }

    /// Lets nothing go before then. A pause that is longer stays.
    pub(crate) fn pause_until(&self, then: u64) {
        self.paused_until.fetch_max(then, Ordering::Relaxed);
    }

    pub(crate) fn resume(&self) {
        self.paused_until.store(0, Ordering::Relaxed);
        if let Some(server) = self.server.get() {
            server.resume();
        }
    }

    /// Until when nothing goes, whatever the quotas have.
    pub(crate) fn held_until(&self, cost: u32) -> u64 {
        let free_at = self.server.get().map_or(0, |server| server.free_at(0, cost));
        self.paused_until.load(Ordering::Relaxed).max(free_at)
    }

    /// Whether it is as if it were new.
    pub(crate) fn is_new(&self, now: u64) -> bool {
        let server = self.server.get();
        // Its quotas are those that another one would be made with.
        self.retuned_to().is_none()
            && self.paused_until.load(Ordering::Relaxed) <= now
            && self.buckets().all(|bucket| bucket.is_full(now))
            && server.is_none_or(|server| server.is_over(now))
    }
}

impl Admit for Limits {
    type Settings = Settings;

    const FORESEEN: bool = true;

    fn new(settings: &Settings, host: Option<&str>) -> Self {
        let Settings { quota, others, over_burst, learned, .. } = settings;
        let server = learned.as_ref().map(|learned| Server::new(Arc::clone(learned), host, true));
        Self::new(*quota, others, *over_burst, server)
    }

    #[inline]
    fn take(&self, now: u64, cost: u32) -> Result<(), Short> {
        self.take(now, cost)
    }

    fn take_late(&self, now: u64, cost: u32) -> Result<(), Short> {
        self.take_late(now, cost)
    }

    fn short(&self, before: u64, cost: u32) -> Short {
        self.short(before, cost)
    }

    fn scarcest(&self, settings: &Settings, now: u64, cost: u32) -> Option<Quota> {
        if now < self.held_until(cost) {
            return None;
        }
        let there_at = |bucket: &Bucket| match self.due(bucket, cost) {
            due if bucket.burst() < due => u64::MAX,
            due => bucket.there_at(due.into()),
        };
        let limits = self.buckets().enumerate().filter(|(_, bucket)| !bucket.is_unlimited());
        let (index, _) = limits.max_by_key(|(_, bucket)| there_at(bucket))?;
        Some(self.quota(settings, index))
    }

    fn gives_back(&self) -> bool {
        1 < self.len()
    }
}

#[cfg(all(test, not(palisade_shuttle)))]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn limits(over_burst: OverBurst) -> Limits {
        let short = Quota::per_second(100).burst(2);
        Limits::new(Quota::per_hour(3600).burst(10), &[short], over_burst, None)
    }

    #[test]
    fn takes_from_all_or_from_none() {
        let limits = limits(OverBurst::Refuse);
        limits.take(0, 2).unwrap();
        for _ in 0..100 {
            assert_eq!(limits.take(0, 1), Err(Short::Until(SECOND / 100)));
        }
        // A hundred refusals of the short one took nothing from the long one.
        assert_eq!(limits.first.there(0), 8);
        assert_eq!(limits.take(SECOND, 3), Err(Short::Never));
        assert_eq!(limits.first.there(SECOND), 9);
        for second in 1..9 {
            limits.take(second * SECOND / 50, 1).unwrap();
        }
        let slow = limits.take(SECOND / 2, 1);
        assert_eq!(slow, Err(Short::Until(SECOND)), "the long one is empty");
    }

    #[test]
    fn a_pause_holds_everything() {
        let limits = limits(OverBurst::Refuse);
        limits.pause_until(5 * SECOND);
        limits.pause_until(3 * SECOND);
        assert_eq!(limits.take(4 * SECOND, 0), Err(Short::Until(5 * SECOND)));
        assert!(!limits.is_new(4 * SECOND) && limits.is_new(5 * SECOND));
        limits.resume();
        assert_eq!(limits.take(4 * SECOND, 1), Ok(()));
    }

    #[test]
    fn debts_are_paid_by_who_comes_later() {
        let limits = limits(OverBurst::Debt);
        limits.take(0, 1).unwrap();
        // Until the shorter one is full.
        assert_eq!(limits.take(0, 5), Err(Short::Until(SECOND / 100)));
        limits.take(SECOND / 100, 5).unwrap();
        assert_eq!(limits.there(SECOND / 100), 0);
        assert_eq!(limits.take(SECOND / 100, 1), Err(Short::Until(5 * SECOND / 100)));
        limits.refund(5);
        assert_eq!(limits.there(SECOND / 100), 2);
    }

    #[test]
    fn without_a_quota_all_goes() {
        let limits = Limits::new(Quota::UNLIMITED, &[], OverBurst::Refuse, None);
        assert_eq!((limits.take(0, u32::MAX), limits.there(0)), (Ok(()), u32::MAX));
    }
}

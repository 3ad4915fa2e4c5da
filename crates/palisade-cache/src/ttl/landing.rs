use std::{hash::Hash, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Judge, Ttl,
    flight::Driving,
    freshness::Freshness,
    rules::Rules,
    shared::{Flying, Landed, count},
    store::Entry,
};

/// What a caller is told, and where that is from.
pub(crate) type Outcome<Res, Err> = (Result<Res, Err>, Came);

/// What came of a call.
#[derive(Clone, Copy)]
pub(crate) enum Came {
    Fresh,
    // What was kept, past its time.
    Stale,
    Nothing,
}

impl<K, V, C, P> Rules<K, V, C, P>
where
    K: Clone + Eq + Hash,
    V: Clone,
{
    /// The answer that is kept.
    #[inline]
    pub(crate) fn give<Res, Err>(&self, entry: &Entry<V>) -> Result<Res, Err>
    where
        P: Judge<K, Res, Err, Kept = V>,
    {
        self.policy.give(entry.answer.clone())
    }

    /// The answer to give in place of this result, if it is a failure, and the
    /// answer is none, and the time for that is not over, and nobody has removed it
    /// since. For a while, no other call is made then.
    pub(crate) fn stand_in<Res, Err>(
        &self,
        key: &K,
        stale: Option<&Arc<Entry<V>>>,
        result: &Result<Res, Err>,
    ) -> Option<Arc<Entry<V>>>
    where
        P: Judge<K, Res, Err, Kept = V>,
    {
        let stale = stale.filter(|_| self.policy.failed(result.as_ref()))?;
        let now = Instant::now();
        let kept = self.shared.store.peek(key);
        let is_kept = kept.is_some_and(|kept| Arc::ptr_eq(&kept, stale));
        if !is_kept || !self.settings.windows.stands_in(&stale.freshness, now) {
            return None;
        }
        let answer: Result<Res, Err> = self.give(stale);
        if self.policy.failed(answer.as_ref()) {
            return None;
        }
        // Before others may call.
        stale.begin_pause(now, true);
        Some(Arc::clone(stale))
    }

    /// Gives everybody an answer past its time.
    pub(crate) fn land_stale<Res, Err>(
        &self,
        key: &K,
        flight: &Flying<V, C>,
        driving: Driving<'_, Landed<V>, C>,
        entry: Arc<Entry<V>>,
    ) -> Outcome<Res, Err>
    where
        P: Judge<K, Res, Err, Kept = V>,
    {
        self.shared.forget(key, flight);
        let answer = self.give(&entry);
        driving.land(Some(Landed { entry, stale: true }));
        (answer, Came::Stale)
    }

    /// Keeps what a call came to, and gives it to everybody; or lets another one
    /// call.
    pub(crate) fn land<Res, Err>(
        &self,
        key: &K,
        flight: &Flying<V, C>,
        driving: Driving<'_, Landed<V>, C>,
        result: Result<Res, Err>,
    ) -> Outcome<Res, Err>
    where
        P: Judge<K, Res, Err, Kept = V>,
    {
        let kept = match self.policy.keep(result) {
            Ok(kept) => kept,
            // Another one calls.
            Err(error) => return (Err(error), Came::Nothing),
        };
        let now = Instant::now();
        let took = driving.since().map_or(Duration::ZERO, |since| now - since);
        let ttl = self.policy.ttl(key, &kept);
        let admitted = self.admit(ttl, now, took, || self.policy.weight(key, &kept));
        let entry = admitted.map(|keep| Arc::new(keep.of(kept.clone())));
        self.shared.land(key, flight, entry.clone());
        // Nobody comes in any more, so this stays as it is.
        let landed = driving.has_others().then(|| {
            let shared = || Arc::new(Keep::FOR_WAITERS.of(kept.clone()));
            Landed { entry: entry.unwrap_or_else(shared), stale: false }
        });
        driving.land(landed);
        (self.policy.give(kept), Came::Fresh)
    }

    /// How to keep an answer, if it is to be kept and not too large.
    pub(crate) fn admit(
        &self,
        ttl: Ttl,
        now: Instant,
        took: Duration,
        weight: impl FnOnce() -> u64,
    ) -> Option<Keep> {
        let freshness = self.settings.begin(ttl, now, took)?;
        let weight = weight().max(1);
        if self.shared.store.largest() < weight {
            count(&self.shared.counts.oversized);
            return None;
        }
        Some(Keep { freshness, weight })
    }
}

/// How an answer is kept.
#[derive(Clone, Copy)]
pub(crate) struct Keep {
    freshness: Freshness,
    weight: u64,
}

impl Keep {
    /// It is given to those who wait, and to nobody else.
    const FOR_WAITERS: Self = Self { freshness: Freshness::FOREVER, weight: 0 };

    pub(crate) fn of<V>(self, answer: V) -> Entry<V> {
        Entry::new(answer, self.freshness, self.weight)
    }
}

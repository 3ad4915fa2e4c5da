use std::{
    hash::Hash,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Instant;
use tower_service::Service;

use super::{
    Call, Judge, Ttl,
    flight::{Driving, Turn},
    freshness::Freshness,
    rules::{Rules, Status},
    shared::{Flying, Landed, Seat, count},
    store::Entry,
};

/// A caller with a place in a flight.
///
/// Dropped, it gives the place up; the call goes on if anybody else has one.
pub(crate) struct Member<S, Req, K, V, P>
where
    S: Service<Req>,
    K: Clone + Eq + Hash,
{
    rules: Arc<Rules<K, V, Call<S, Req>, P>>,
    flight: Flying<V, Call<S, Req>>,
    // Until it is given up.
    place: Option<usize>,
    key: K,
    // What to call with, if it comes to that.
    own: Option<Call<S, Req>>,
    // Nobody else waits for this.
    alone: Option<Pin<Box<Call<S, Req>>>>,
    // What was kept, past its time.
    stale: Option<Arc<Entry<V>>>,
    // There was an answer to give, and this is for the next one.
    refreshes: bool,
    since: Option<Instant>,
}

impl<S, Req, K, V, P> Member<S, Req, K, V, P>
where
    S: Service<Req>,
    K: Clone + Eq + Hash,
{
    pub(crate) fn new(
        rules: &Arc<Rules<K, V, Call<S, Req>, P>>,
        seat: Seat<V, Call<S, Req>>,
        key: K,
        own: Call<S, Req>,
        stale: Option<Arc<Entry<V>>>,
        refreshes: bool,
    ) -> Self {
        let since = rules.settings.since();
        let Seat { flight, place } = seat;
        let rules = Arc::clone(rules);
        let (place, own, alone) = (Some(place), Some(own), None);
        Self { rules, flight, place, key, own, alone, stale, refreshes, since }
    }

    fn leave(&mut self) {
        if let Some(place) = self.place.take()
            && self.flight.leave(place)
        {
            self.rules.shared.sweep(&self.key, &self.flight);
        }
    }

    fn status(&self, came: Came) -> Status {
        match (self.refreshes, came) {
            (true, Came::Fresh) => Status::Refreshed,
            (true, Came::Stale | Came::Nothing) => Status::RefreshFailed,
            (false, Came::Stale) => Status::Stale,
            // It has called, or had somebody call for it.
            (false, _) if self.own.is_none() => Status::Miss,
            (false, _) => Status::Collapsed,
        }
    }
}

impl<S, Req, K, V, P> Member<S, Req, K, V, P>
where
    S: Service<Req>,
    K: Clone + Eq + Hash,
    V: Clone,
    P: Judge<K, S::Response, S::Error, Kept = V>,
{
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<S::Response, S::Error>> {
        let (result, came) = ready!(self.poll_result(cx));
        self.leave();
        let status = self.status(came);
        self.rules.settings.tell(&self.rules.shared.counts, status);
        Poll::Ready(result)
    }

    fn poll_result(&mut self, cx: &mut Context<'_>) -> Poll<Outcome<S::Response, S::Error>> {
        if let Some(place) = self.place {
            match self.flight.poll(place, &mut self.own, cx) {
                Turn::Wait => return Poll::Pending,
                Turn::Landed(Landed { entry, stale }) => {
                    let came = if stale { Came::Stale } else { Came::Fresh };
                    return Poll::Ready((self.rules.give(&entry), came));
                }
                Turn::Over(result, driving) => {
                    let stale = self.rules.stand_in(self.stale.take(), &result);
                    let (rules, flight, key) = (&*self.rules, &self.flight, &self.key);
                    return Poll::Ready(match stale {
                        Some(entry) => rules.land_stale(key, flight, driving, entry),
                        None => rules.land(key, flight, driving, result, self.since),
                    });
                }
                Turn::Alone(call) => self.alone = Some(Box::pin(call)),
            }
            self.leave();
        }
        let alone = self.alone.as_mut().expect("polled after it was ready");
        let result = ready!(alone.as_mut().poll(cx));
        self.alone = None;
        Poll::Ready(match self.rules.stand_in(self.stale.take(), &result) {
            Some(entry) => (self.rules.give(&entry), Came::Stale),
            None => (result, Came::Fresh),
        })
    }
}

type Outcome<Res, Err> = (Result<Res, Err>, Came);

/// What came of a call.
#[derive(Clone, Copy)]
enum Came {
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
    /// time for that is not over.
    fn stand_in<Res, Err>(
        &self,
        stale: Option<Arc<Entry<V>>>,
        result: &Result<Res, Err>,
    ) -> Option<Arc<Entry<V>>>
    where
        P: Judge<K, Res, Err, Kept = V>,
    {
        let windows = &self.settings.windows;
        stale.filter(|stale| {
            self.policy.failed(result.as_ref())
                && windows.stands_in(&stale.freshness, Instant::now())
        })
    }

    fn land_stale<Res, Err>(
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

    fn land<Res, Err>(
        &self,
        key: &K,
        flight: &Flying<V, C>,
        driving: Driving<'_, Landed<V>, C>,
        result: Result<Res, Err>,
        since: Option<Instant>,
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
        let took = since.map_or(Duration::ZERO, |since| now - since);
        let entry = self.entry(self.policy.ttl(key, &kept), now, took, &kept, || {
            self.policy.weight(key, &kept)
        });
        self.shared.land(key, flight, entry.clone());
        // Nobody comes in any more, so this stays as it is.
        let landed = driving.has_others().then(|| {
            let shared =
                || Entry { answer: kept.clone(), freshness: Freshness::FOREVER, weight: 0 };
            Landed { entry: entry.unwrap_or_else(|| Arc::new(shared())), stale: false }
        });
        driving.land(landed);
        (self.policy.give(kept), Came::Fresh)
    }

    /// What to keep of an answer, if it is to be kept and not too large.
    pub(crate) fn entry(
        &self,
        ttl: Ttl,
        now: Instant,
        took: Duration,
        answer: &V,
        weight: impl FnOnce() -> u64,
    ) -> Option<Arc<Entry<V>>> {
        let freshness = self.settings.begin(ttl, now, took)?;
        let weight = weight().max(1);
        if self.shared.store.largest() < weight {
            count(&self.shared.counts.oversized);
            return None;
        }
        Some(Arc::new(Entry { answer: answer.clone(), freshness, weight }))
    }
}

impl<S, Req, K, V, P> Drop for Member<S, Req, K, V, P>
where
    S: Service<Req>,
    K: Clone + Eq + Hash,
{
    fn drop(&mut self) {
        self.leave();
    }
}

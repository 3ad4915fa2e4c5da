use std::{
    hash::Hash,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::time::Instant;
use tower_service::Service;

use super::{
    Call, Judge,
    flight::Turn,
    landing::{Came, Outcome},
    rules::{Rules, Status},
    shared::{Flying, Landed, Seat},
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
        let Seat { flight, place } = seat;
        let rules = Arc::clone(rules);
        let (place, own, alone) = (Some(place), Some(own), None);
        Self { rules, flight, place, key, own, alone, stale, refreshes }
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
        let mut panicked = Panicked(self.stale.clone());
        let polled = self.poll_result(cx);
        panicked.0 = None;
        let (result, came) = ready!(polled);
        self.leave();
        let status = self.status(came);
        self.rules.settings.tell(&self.rules.shared.counts, status);
        Poll::Ready(result)
    }

    fn poll_result(&mut self, cx: &mut Context<'_>) -> Poll<Outcome<S::Response, S::Error>> {
        if let Some(place) = self.place {
            let now = || self.rules.settings.since();
            match self.flight.poll(place, &mut self.own, now, cx) {
                Turn::Wait => return Poll::Pending,
                Turn::Landed(Landed { entry, stale }) => {
                    let came = if stale { Came::Stale } else { Came::Fresh };
                    return Poll::Ready((self.rules.give(&entry), came));
                }
                Turn::Over(result, driving) => {
                    let stale = self.stale.take();
                    let (rules, flight, key) = (&*self.rules, &self.flight, &self.key);
                    if let Some(entry) = rules.stand_in(key, stale.as_ref(), &result) {
                        return Poll::Ready(rules.land_stale(key, flight, driving, entry));
                    }
                    let (result, came) = rules.land(key, flight, driving, result);
                    if let (Came::Nothing, Some(entry)) = (came, stale) {
                        entry.begin_pause(Instant::now(), false);
                    }
                    return Poll::Ready((result, came));
                }
                Turn::Alone(call) => self.alone = Some(Box::pin(call)),
            }
            self.leave();
        }
        let alone = self.alone.as_mut().expect("polled after it was ready");
        let result = ready!(alone.as_mut().poll(cx));
        self.alone = None;
        Poll::Ready(match self.rules.stand_in(&self.key, self.stale.take().as_ref(), &result) {
            Some(entry) => (self.rules.give(&entry), Came::Stale),
            None => (result, Came::Fresh),
        })
    }
}

/// What there is in place of what a panic was to bring. Dropped with it, it has no
/// other call made for a while.
struct Panicked<V>(Option<Arc<Entry<V>>>);

impl<V> Drop for Panicked<V> {
    fn drop(&mut self) {
        if let Some(entry) = self.0.take() {
            entry.begin_pause(Instant::now(), true);
        }
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

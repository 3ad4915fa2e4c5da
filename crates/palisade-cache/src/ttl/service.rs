use std::{
    fmt,
    hash::Hash,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::Instant;
use tower_service::Service;

use super::{
    CacheFuture, Call, Judge, KeyOf, Policy, Refresh, Refresher,
    freshness::Age,
    member::Member,
    pause::Pause,
    rules::{Rules, Status},
    store::Entry,
};

/// Answers requests by what the inner service answered before.
///
/// Made by [`CacheLayer`](crate::CacheLayer).
///
/// It is always ready: what it has, it gives without asking the inner service.
/// A request that it has no answer to waits for the inner service in its future.
///
/// The inner service is `Clone`, and so are its responses; requests are keys, so
/// `Clone + Eq + Hash`, unless [`key`](crate::CacheLayer::key) makes one of them. Where
/// the compiler finds no `Service` for this, it is one of these that is missing.
pub struct Cache<S, K, V, C, P = Policy> {
    inner: S,
    rules: Arc<Rules<K, V, C, P>>,
}

impl<S, K, V, C, P> Cache<S, K, V, C, P> {
    pub(crate) fn new(inner: S, rules: Arc<Rules<K, V, C, P>>) -> Self {
        Self { inner, rules }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Clone, K, V, C, P> Clone for Cache<S, K, V, C, P> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), Arc::clone(&self.rules))
    }
}

impl<S: fmt::Debug, K, V, C, P> fmt::Debug for Cache<S, K, V, C, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, Req, K, V, B, T, W, R, J, X> Service<Req>
    for Cache<S, K, V, Call<S, Req>, Policy<B, T, W, R, J, X>>
where
    S: Service<Req> + Clone,
    K: Clone + Eq + Hash,
    V: Clone,
    B: KeyOf<Req, Key = K>,
    X: Refresher<Refresh<S, Req, K, V, Policy<B, T, W, R, J, X>>>,
    Policy<B, T, W, R, J, X>: Judge<K, S::Response, S::Error, Kept = V>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = CacheFuture<S, Req, K, V, Policy<B, T, W, R, J, X>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let rules = &*self.rules;
        let key = rules.policy.by.key(&request);
        let Some(entry) = rules.shared.store.find(&key) else {
            let key = key.into_owned();
            return self.wait(key, request, None);
        };
        let age = rules.settings.age(&entry);
        if age == Age::Fresh {
            return self.give(&entry, Status::Hit);
        }
        let key = key.into_owned();
        self.renew(key, request, entry, age, |refresh| rules.policy.background.refresh(refresh))
    }
}

impl<S, K, V, C, P> Cache<S, K, V, C, P> {
    #[inline]
    fn give<Req>(&self, entry: &Entry<V>, status: Status) -> CacheFuture<S, Req, K, V, P>
    where
        S: Service<Req>,
        K: Clone + Eq + Hash,
        V: Clone,
        P: Judge<K, S::Response, S::Error, Kept = V>,
    {
        self.rules.settings.tell(&self.rules.shared.counts, status);
        CacheFuture::answered(self.rules.give(entry))
    }
}

impl<S, Req, K, V, P> Cache<S, K, V, Call<S, Req>, P>
where
    S: Service<Req> + Clone,
    K: Clone + Eq + Hash,
    V: Clone,
    P: Judge<K, S::Response, S::Error, Kept = V>,
{
    /// Waits for a call, of its own or of another one who waits.
    fn wait(
        &self,
        key: K,
        request: Req,
        stale: Option<Arc<Entry<V>>>,
    ) -> CacheFuture<S, Req, K, V, P> {
        let rules = &self.rules;
        let as_it_is = |entry: &Entry<V>| rules.settings.as_it_is(entry);
        // Before it has a place, which nobody would give up after a panic.
        let call = Call::new(self.inner.clone(), request);
        let seat = match rules.shared.join(&key, rules.settings.single_flight, as_it_is) {
            Ok(seat) => seat,
            Err((entry, status)) => return self.give(&entry, status),
        };
        CacheFuture::waiting(Member::new(rules, seat, key, call, stale, false))
    }

    /// Gives an answer that grows old while a new one is on its way, if it is
    /// not too old for that.
    #[cold]
    fn renew(
        &self,
        key: K,
        request: Req,
        entry: Arc<Entry<V>>,
        age: Age,
        run: impl FnOnce(Refresh<S, Req, K, V, P>) -> Option<Refresh<S, Req, K, V, P>>,
    ) -> CacheFuture<S, Req, K, V, P> {
        let status = match age {
            Age::Fresh | Age::Due => Status::Hit,
            Age::Stale => Status::Stale,
            Age::Expired => return self.wait(key, request, Some(entry)),
        };
        let call = Call::new(self.inner.clone(), request);
        let is_on = |pause: Pause| pause.is_on(Instant::now());
        let Some(seat) = self.rules.shared.refresh(&key, &entry, is_on) else {
            return self.give(&entry, status);
        };
        let member = Member::new(&self.rules, seat, key, call, Some(Arc::clone(&entry)), true);
        match run(Refresh::new(member)) {
            None => self.give(&entry, status),
            Some(refresh) => CacheFuture::waiting(refresh.into_member()),
        }
    }
}

//! That the seam holds for a store that has to be waited for.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use palisade_cache::{
    CacheKey, CacheKeyRef, CacheStatus, Entry, HttpCacheLayer, MemoryStore, Stamp, Store, Variant,
};
use tower::{Layer, ServiceExt};

use crate::support::{Client, Origin, Step, ask, clock, pass, reply};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

/// Every look takes a moment, and every write as well, which nobody waits for.
#[derive(Clone, Default)]
struct SlowStore {
    entries: Arc<Mutex<HashMap<CacheKey, Arc<Entry>>>>,
    invalidated: Arc<Mutex<HashMap<CacheKey, Stamp>>>,
    stamps: Arc<AtomicU64>,
}

const MOMENT: Duration = Duration::from_millis(20);

impl SlowStore {
    fn later(&self, work: impl FnOnce(&Self) + Send + 'static) {
        let store = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(MOMENT).await;
            work(&store);
        });
    }
}

impl Store for SlowStore {
    type Get = Pin<Box<dyn Future<Output = Option<Arc<Entry>>> + Send>>;

    fn get(&self, key: &CacheKey) -> Self::Get {
        let (entries, key) = (Arc::clone(&self.entries), key.clone());
        Box::pin(async move {
            tokio::time::sleep(MOMENT).await;
            entries.lock().unwrap().get(&key).cloned()
        })
    }

    fn stamp(&self) -> Stamp {
        Stamp::new(self.stamps.fetch_add(1, Ordering::Relaxed))
    }

    fn put(&self, key: &CacheKey, variant: Arc<Variant>) -> bool {
        let key = key.clone();
        self.later(move |store| {
            let invalidated = store.invalidated.lock().unwrap().get(&key).copied();
            if invalidated.is_some_and(|at| variant.stamp() < at) {
                return;
            }
            let mut entries = store.entries.lock().unwrap();
            let entry = entries.get(&key).cloned().unwrap_or_default();
            if !entry.outdates(&variant) {
                entries.insert(key, Arc::new(entry.with(variant, usize::MAX)));
            }
        });
        true
    }

    fn freshen(&self, key: &CacheKey, stale: &Variant, fresh: Arc<Variant>) {
        let (key, stale) = (key.clone(), stale.clone());
        self.later(move |store| {
            let mut entries = store.entries.lock().unwrap();
            let fresh = entries.get(&key).and_then(|entry| entry.freshened(&stale, fresh));
            if let Some(fresh) = fresh {
                entries.insert(key, Arc::new(fresh));
            }
        });
    }

    fn invalidate(&self, key: CacheKeyRef<'_>) {
        let (key, now) = (key.to_key(), self.stamp());
        self.invalidated.lock().unwrap().insert(key.clone(), now);
        self.entries.lock().unwrap().remove(&key);
    }

    fn max_body(&self) -> u64 {
        1 << 20
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_may_take_its_time() {
    let fields = [("cache-control", "max-age=5"), ("etag", "\"a\"")];
    let origin = Origin::new(move |request| match request.headers().get("if-none-match") {
        Some(_) => reply(304, &[], ""),
        None => reply(200, &fields, "one"),
    });
    let layer = HttpCacheLayer::private(SlowStore::default()).clock(clock());
    let client = Client { service: layer.layer(origin.clone()) };
    for (user, after, method, status) in [
        (&[][..], 0, "GET", CacheStatus::Miss),
        (&[], 1, "GET", CacheStatus::Hit),
        (&[], 10, "GET", CacheStatus::Revalidated),
        (&[], 1, "HEAD", CacheStatus::Hit),
        (&[("authorization", "a")], 1, "GET", CacheStatus::Miss),
        (&[("authorization", "a")], 1, "GET", CacheStatus::Hit),
        (&[], 0, "POST", CacheStatus::Bypass),
        (&[], 1, "GET", CacheStatus::Miss),
    ] {
        pass(after).await;
        assert_eq!(client.send(ask(method, "/x", user)).await.cache, status, "{method} {after}");
        tokio::time::sleep(2 * MOMENT).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_public_is_found_in_a_slow_store_too() {
    let origin = Origin::of([reply(200, &[("cache-control", "public, max-age=60")], "one")]);
    let layer = HttpCacheLayer::private(SlowStore::default()).clock(clock());
    let client = Client { service: layer.layer(origin.clone()) };
    for user in ["a", "b", "c"] {
        assert_eq!(client.get("/x", &[("authorization", user)]).await.text(), "one");
        tokio::time::sleep(2 * MOMENT).await;
    }
    assert_eq!(origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn requests_collapse_over_a_slow_store() {
    let origin = Origin::of([reply(200, &[FRESH], "one").after(Duration::from_secs(1))]);
    let layer = HttpCacheLayer::private(SlowStore::default()).clock(clock());
    let client = Client { service: layer.layer(origin.clone()) };
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let client = client.clone();
        all.spawn(async move { client.get("/x", &[]).await.body });
    }
    assert!(all.join_all().await.iter().all(|body| body.as_deref() == Ok("one")));
    assert_eq!(origin.calls(), 1);
}

async fn fill(layer: &HttpCacheLayer<MemoryStore>, uri: &str, size: usize) {
    let service = tower::service_fn(move |_: Request<Empty<Bytes>>| async move {
        let response = Response::builder().header("cache-control", "max-age=60");
        Ok::<_, std::convert::Infallible>(
            response.body(Full::new(Bytes::from(vec![b'x'; size]))).unwrap(),
        )
    });
    let response = layer.layer(service).oneshot(ask("GET", uri, &[])).await.unwrap();
    response.into_body().collect().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_largest_body_fits_and_the_budget_is_kept() {
    for (budget, largest) in [(16 << 20, 1 << 20), (1 << 20, 64 << 10), (4 << 20, 1 << 20)] {
        let layer = HttpCacheLayer::private(MemoryStore::new(budget).max_body(largest as u64));
        for _ in 0..2 {
            fill(&layer, "/largest", largest).await;
            assert_eq!(layer.store().len(), 1, "{budget}");
        }
        layer.store().clear();
        fill(&layer, "/larger", largest + 1).await;
        assert!(layer.store().is_empty());
        for index in 0..200 {
            fill(&layer, &format!("/{index}"), largest / 3).await;
            assert!(layer.store().weight() <= budget, "{budget}");
        }
        assert!(budget / 2 < layer.store().weight(), "{}", layer.store().weight());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_removed_is_gone() {
    let layer = HttpCacheLayer::private(MemoryStore::new(1 << 20)).clock(clock());
    fill(&layer, "/x", 0).await;
    fill(&layer, "/y", 1).await;
    assert_eq!(layer.store().len(), 2);
    layer.store().remove(&"http://a.example/x".parse().unwrap());
    assert_eq!(layer.store().len(), 1);
    layer.store().clear();
    assert!(layer.store().is_empty() && layer.store().weight() == 0);
    let _ = Step::Fail;
}

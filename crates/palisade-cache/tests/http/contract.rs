use std::{sync::Arc, time::Duration};

use palisade_cache::{Collapse, HttpCacheLayer, MemoryStore, Route, RouteTtl};
use palisade_testkit::{Contract, Readiness, RecordingObserver, probe_request};
use tower::ServiceExt;

/// What it takes to be ready to share a response that nobody shares in the end.
const MISS: u64 = 12;

fn store() -> MemoryStore {
    MemoryStore::new(1 << 20)
}

/// Everything is stored, for a second.
fn forced() -> Route {
    Route::prefix("/").ttl(RouteTtl::Force(Duration::from_secs(1)))
}

#[tokio::test(start_paused = true)]
async fn keeps_the_contract() {
    let layer = || HttpCacheLayer::private(store());
    Contract::new(layer, layer)
        .readiness(Readiness::Independent)
        .allocations(MISS)
        .future_size(SIZE)
        .shares(|one, other, probe| async move {
            one.oneshot(probe_request(1)).await.is_ok()
                && other.oneshot(probe_request(1)).await.is_ok()
                && probe.calls() == 2
        })
        .check()
        .await;
}

/// That of a response, and a little more.
const SIZE: usize = 256;

#[tokio::test(start_paused = true)]
async fn keeps_it_when_everything_is_stored() {
    let observer = Arc::new(RecordingObserver::new());
    let layer = || {
        HttpCacheLayer::shared(store())
            .route(forced())
            .stale_if_error(Duration::from_secs(60))
            .observer(observer.clone())
    };
    Contract::new(layer, layer)
        .readiness(Readiness::Independent)
        // Two of them for a URI that keeps no buffer of a request alive.
        .allocations(42)
        .future_size(SIZE)
        .shares(|one, other, probe| async move {
            use http_body_util::BodyExt;
            let response = one.oneshot(probe_request(1)).await.unwrap();
            response.into_body().collect().await.unwrap();
            other.oneshot(probe_request(1)).await.is_ok() && probe.calls() == 1
        })
        .check()
        .await;
}

#[tokio::test(start_paused = true)]
async fn keeps_it_without_collapsing() {
    let layer = || HttpCacheLayer::private(store()).collapse(Collapse::off()).route(forced());
    Contract::new(layer, layer)
        .readiness(Readiness::Independent)
        .allocations(40)
        .future_size(SIZE)
        .check()
        .await;
}

//! What every layer promises.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use palisade_cache::{CacheLayer, Ttl, key_fn, ttl_fn};
use palisade_testkit::{
    Probe, ProbeBody, ProbeHandle, Readiness, RecordingObserver, contract, probe_request,
};
use tower::{Layer, ServiceBuilder, ServiceExt, util::MapResponseLayer};

use crate::support::lock;

/// A body that is the same for all who have a clone of it.
struct SharedBody<B>(Arc<Mutex<Pin<Box<B>>>>);

impl<B> SharedBody<B> {
    fn new(body: B) -> Self {
        Self(Arc::new(Mutex::new(Box::pin(body))))
    }
}

impl<B> Clone for SharedBody<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: Body> Body for SharedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        lock(&self.0).as_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.0).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.0).size_hint()
    }
}

/// Each request of the probe has a number.
fn number<B>(request: &Request<B>) -> Option<HeaderValue> {
    request.headers().values().next().cloned()
}

/// Lets the answers be cloned, but not kept: the probe looks for what is left.
macro_rules! layer {
    ($layer:expr) => {
        ServiceBuilder::new()
            .layer(
                $layer
                    .key(key_fn(number))
                    .ttl(ttl_fn(|_: &Option<HeaderValue>, _: &Response<_>| Ttl::Never)),
            )
            .layer(MapResponseLayer::new(|response: Response<_>| response.map(SharedBody::new)))
            .into_inner()
    };
}

// The flight, its bell, its line, and the call; a key that is cloned; and two of
// the body that can be.
const ALLOCATIONS: u64 = 4 + 1 + 2;
// What is told is written down.
const OBSERVED: u64 = 3;

#[tokio::test(start_paused = true)]
async fn keeps_the_contract() {
    contract!(layer!(CacheLayer::new(Duration::from_secs(60))))
        .readiness(Readiness::Independent)
        .allocations(ALLOCATIONS)
        .future_size(512)
        .check()
        .await;
}

#[tokio::test(start_paused = true)]
async fn keeps_it_with_all_that_can_be_set() {
    let observer = Arc::new(RecordingObserver::new());
    contract!(layer!(
        CacheLayer::new(Duration::from_secs(60))
            .jitter(0.1)
            .early_refresh(1.0)
            .stale_while_revalidate(Duration::from_secs(60))
            .stale_if_error(Duration::from_secs(60))
            .observer(observer.clone())
    ))
    .readiness(Readiness::Independent)
    .allocations(ALLOCATIONS + OBSERVED)
    .future_size(512)
    .check()
    .await;
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_share_what_is_kept() {
    let handle = ProbeHandle::new();
    let probe = |handle: &ProbeHandle| -> Probe { handle.probe() };
    let layer = ServiceBuilder::new()
        .layer(CacheLayer::forever().key(key_fn(number)))
        .layer(MapResponseLayer::new(|response: Response<ProbeBody>| response.map(SharedBody::new)))
        .into_inner();
    let (one, other) = (layer.layer(probe(&handle)), layer.layer(probe(&handle)));
    one.oneshot(probe_request(1)).await.unwrap();
    other.oneshot(probe_request(1)).await.unwrap();
    assert_eq!(handle.calls(), 1);
}

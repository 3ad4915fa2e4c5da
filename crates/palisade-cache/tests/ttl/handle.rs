//! What is changed from outside, also while a call is under way.

use std::time::Duration;

use palisade_cache::{CacheLayer, Ttl};
use tokio::time::advance;
use tower::{Layer, ServiceExt};

use crate::support::{Api, poll_once};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn finds_inserts_and_removes() {
    let api = Api::default();
    let layer = CacheLayer::new(10 * SECOND);
    let handle = layer.handle();
    let cache = layer.layer(api.watch());
    let ask = |request| cache.clone().oneshot(request);

    assert_eq!(handle.get(&7), None);
    handle.insert(7, (0, 0), SECOND);
    assert_eq!(handle.get(&7), Some((0, 0)));
    assert_eq!(ask(7).await, Ok((0, 0)));
    advance(SECOND).await;
    assert_eq!(handle.get(&7), None);
    assert_eq!(ask(7).await, Ok((7, 1)));

    assert!(handle.invalidate(&7));
    assert!(!handle.invalidate(&7));
    assert_eq!(ask(7).await, Ok((7, 2)));
    ask(8).await.unwrap();
    assert_eq!(handle.stats().entries, 2);
    handle.clear();
    assert_eq!((handle.stats().entries, handle.stats().weight), (0, 0));
    assert_eq!(ask(7).await, Ok((7, 4)));

    // What is not to be kept takes away what is.
    handle.insert(7, (0, 0), Ttl::Never);
    assert_eq!(handle.get(&7), None);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_older_neither_replaces_nor_brings_back() {
    enum Change {
        Insert,
        Invalidate,
        Clear,
    }
    for change in [Change::Insert, Change::Invalidate, Change::Clear] {
        let api = Api::default();
        let layer = CacheLayer::new(10 * SECOND);
        let handle = layer.handle();
        let cache = layer.layer(api.watch());
        let mut older = Box::pin(cache.clone().oneshot(7));
        assert!(poll_once(&mut older).is_pending());
        advance(Duration::from_millis(50)).await;
        let inserted = match change {
            Change::Insert => {
                handle.insert(7, (0, 0), SECOND);
                true
            }
            Change::Invalidate => handle.invalidate(&7),
            Change::Clear => {
                handle.clear();
                false
            }
        };
        // Who comes now does not wait for what was asked before.
        let mut newer = Box::pin(cache.clone().oneshot(7));
        assert_eq!(poll_once(&mut newer).is_ready(), inserted);
        assert_eq!(older.await, Ok((7, 1)));
        assert_eq!(handle.get(&7), inserted.then_some((0, 0)));
        if !inserted {
            assert_eq!(newer.await, Ok((7, 2)));
            assert_eq!(handle.get(&7), Some((7, 2)));
        }
        assert_eq!(handle.stats().in_flight, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_call_that_ends_later_does_not_replace_a_newer_one() {
    let api = Api::default();
    let layer = CacheLayer::new(10 * SECOND);
    let handle = layer.handle();
    let cache = layer.layer(api.watch());
    api.takes(3 * SECOND);
    let older = tokio::spawn(cache.clone().oneshot(7));
    tokio::task::yield_now().await;
    handle.invalidate(&7);
    api.takes(SECOND);
    assert_eq!(cache.clone().oneshot(7).await, Ok((7, 2)));
    assert_eq!(older.await.unwrap(), Ok((7, 1)));
    assert_eq!(handle.get(&7), Some((7, 2)));
}

#[tokio::test(start_paused = true)]
async fn layers_share_until_they_are_set_apart() {
    let api = Api::default();
    let layer = CacheLayer::new(10 * SECOND);
    let (one, other) = (layer.layer(api.watch()), layer.clone().layer(api.watch()));
    let apart = layer.clone().jitter(0.1).layer(api.watch());
    assert_eq!(one.oneshot(7).await, Ok((7, 1)));
    assert_eq!(other.oneshot(7).await, Ok((7, 1)));
    assert_eq!(apart.oneshot(7).await, Ok((7, 2)));
}

//! What a hit costs, and a miss.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use allocation_counter::measure;
use palisade_cache::{CacheLayer, key_fn};
use tower::{Layer, Service, service_fn};

fn answer(request: &'static str) -> Ready<Result<Arc<str>, Infallible>> {
    ready(Ok(Arc::from(request)))
}

fn ask<S: Service<&'static str, Future: Unpin>>(service: &mut S, request: &'static str) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    let mut future = service.call(request);
    assert!(matches!(std::pin::Pin::new(&mut future).poll(&mut cx), Poll::Ready(Ok(_))));
}

#[test]
fn a_hit_allocates_nothing() {
    let layer = CacheLayer::new(Duration::from_secs(60))
        .jitter(0.1)
        .early_refresh(1.0)
        .stale_while_revalidate(Duration::from_secs(60));
    let mut cache = layer.layer(service_fn(answer));
    ask(&mut cache, "one");
    let info = measure(|| ask(&mut cache, "one"));
    assert_eq!(info.count_total, 0);
}

/// The flight, its bell, its line, the call, and the entry; and the answer.
const MISS: u64 = 5 + 1;

#[test]
fn a_miss_allocates_five_times() {
    let requests: Vec<&'static str> =
        "a b c d e f g h i j k l m n o p q r s t u".split(' ').collect();
    // With room left, and with something to evict.
    for most in [32, 4] {
        let layer =
            CacheLayer::forever().max_entries(most).key(key_fn(|request: &&'static str| *request));
        let mut cache = layer.layer(service_fn(answer));
        let (last, first) = requests.split_last().unwrap();
        first.iter().for_each(|request| ask(&mut cache, request));
        let info = measure(|| ask(&mut cache, last));
        assert_eq!(info.count_total, MISS, "{most}");
    }
}

#[test]
fn the_future_is_small() {
    let layer = CacheLayer::forever();
    let mut cache = layer.layer(service_fn(answer));
    ask(&mut cache, "one");
    let future = cache.call("one");
    assert!(size_of_val(&future) <= 256, "{}", size_of_val(&future));
}

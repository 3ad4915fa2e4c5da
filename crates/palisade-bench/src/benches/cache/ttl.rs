use std::{
    cell::Cell,
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use palisade_cache::CacheLayer;
use tower::{Layer, service_fn};
use tower_resilience_cache::CacheLayer as ResilienceLayer;
use tower_service::Service;

use crate::subject::{BARE, Subject, at_once};

/// More than are kept of any other in a row, and few enough for all caches near the processor.
const KEYS: u64 = 1000;
const PLACES: usize = 10_000;
const TTL: Duration = Duration::from_secs(3600);

/// A request by number that was answered before. quick_cache has no time to live, and neither it
/// nor moka is a layer: they are asked for what they keep.
pub(in crate::benches) fn hit() -> Vec<Subject> {
    let palisade = CacheLayer::new(TTL).layer(service_fn(answer));
    let forever = CacheLayer::forever().layer(service_fn(answer));
    let resilience = ResilienceLayer::builder()
        .max_size(PLACES)
        .ttl(TTL)
        .key_extractor(|request: &u64| *request)
        .build()
        .expect("a valid cache")
        .layer(service_fn(answer));
    let quick_cache = quick_cache::sync::Cache::new(PLACES);
    let moka = moka::sync::Cache::builder().max_capacity(PLACES as u64).time_to_live(TTL).build();
    for key in 0..KEYS {
        quick_cache.insert(key, answer_of(key));
        moka.insert(key, answer_of(key));
    }
    vec![
        asked(BARE, service_fn(answer)),
        asked("palisade", palisade),
        asked("palisade, forever", forever),
        keyed("quick_cache", move |key| quick_cache.get(&key)),
        keyed("moka", move |key| moka.get(&key)),
        asked("tower-resilience", resilience),
    ]
}

/// A request by number that was not asked for before, in place of one that was.
pub(in crate::benches) fn miss() -> Vec<Subject> {
    let palisade = CacheLayer::new(TTL).layer(service_fn(answer));
    let resilience = ResilienceLayer::builder()
        .max_size(PLACES)
        .ttl(TTL)
        .key_extractor(|request: &u64| *request)
        .build()
        .expect("a valid cache")
        .layer(service_fn(answer));
    vec![
        called(BARE, service_fn(answer), u64::MAX),
        called("palisade", palisade, u64::MAX),
        called("tower-resilience", resilience, u64::MAX),
    ]
}

fn answer(request: u64) -> Ready<Result<Bytes, Infallible>> {
    ready(Ok(answer_of(request)))
}

fn answer_of(_: u64) -> Bytes {
    Bytes::from_static(br#"{"items":[]}"#)
}

/// Asks for the same ones over and over again.
fn asked<S>(name: &'static str, mut service: S) -> Subject
where
    S: Service<u64, Response = Bytes> + 'static,
{
    for key in 0..KEYS {
        assert!(at_once(service.call(key)).is_ok(), "{name} fails");
    }
    called(name, service, KEYS)
}

fn called<S>(name: &'static str, mut service: S, keys: u64) -> Subject
where
    S: Service<u64, Response = Bytes> + 'static,
{
    let next = Cell::new(0);
    Subject::work(name, move || {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut cx).is_ready(), "{name} is not ready at once");
        let future = pin!(service.call(black_box(turn(&next, keys))));
        match black_box(&future.poll(&mut cx)) {
            Poll::Ready(result) => assert!(result.is_ok(), "{name} fails"),
            Poll::Pending => panic!("{name} does not answer at once"),
        }
    })
}

fn keyed(name: &'static str, get: impl Fn(u64) -> Option<Bytes> + 'static) -> Subject {
    let next = Cell::new(0);
    Subject::work(name, move || {
        let found = get(black_box(turn(&next, KEYS)));
        assert!(black_box(&found).is_some(), "{name} has lost it");
    })
}

fn turn(next: &Cell<u64>, keys: u64) -> u64 {
    let key = next.get();
    next.set((key + 1) % keys);
    key
}

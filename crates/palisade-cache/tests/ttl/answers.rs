//! What is answered, and when the inner service is called for it.

use std::{convert::Infallible, rc::Rc, sync::Arc, time::Duration};

use palisade_cache::{Cache, CacheLayer, Call, Ttl, key_fn, ttl_fn, weigh_fn};
use palisade_testkit::RecordingObserver;
use tokio::time::advance;
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimitLayer, service_fn};

use crate::support::{Api, End, poll_once};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn an_answer_is_given_until_its_time_is_over() {
    let api = Api::default();
    let cache = CacheLayer::new(10 * SECOND).layer(api.watch());
    let ask = |request| cache.clone().oneshot(request);
    for (request, later, answer) in [
        (1, 0, (1, 1)),
        (1, 9, (1, 1)),
        (2, 0, (2, 2)),
        (1, 1, (1, 3)),
        (2, 0, (2, 2)),
        (1, 9, (1, 3)),
    ] {
        advance(later * SECOND).await;
        assert_eq!(ask(request).await, Ok(answer), "{request} {later}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_function_says_how_long() {
    let api = Api::default();
    let layer = CacheLayer::new(SECOND).ttl(ttl_fn(|key: &u64, _: &(u64, usize)| match key {
        1 => Ttl::Never,
        2 => Ttl::Forever,
        _ => Ttl::For(5 * SECOND),
    }));
    let cache = layer.layer(api.watch());
    let ask = |request| cache.clone().oneshot(request);
    for (request, first, soon, late) in [(1, 1, 2, 3), (2, 4, 4, 4), (3, 5, 5, 6)] {
        assert_eq!(ask(request).await, Ok((request, first)));
        assert_eq!(ask(request).await, Ok((request, soon)));
        advance(6 * SECOND).await;
        assert_eq!(ask(request).await, Ok((request, late)));
    }
}

#[tokio::test(start_paused = true)]
async fn requests_with_the_same_key_have_the_same_answer() {
    let api = Api::default();
    let cache = CacheLayer::forever().key(key_fn(|request: &u64| request % 10)).layer(api);
    assert_eq!(cache.clone().oneshot(17).await, Ok((17, 1)));
    assert_eq!(cache.clone().oneshot(27).await, Ok((17, 1)));
    assert_eq!(cache.clone().oneshot(28).await, Ok((28, 2)));
}

/// The type of a service can be written down.
#[derive(Clone)]
struct Client {
    cache: Cache<Api, u64, (u64, usize), Call<Api, u64>>,
}

#[tokio::test(start_paused = true)]
async fn a_cache_can_be_a_field() {
    let client = Client { cache: CacheLayer::new(SECOND).layer(Api::default()) };
    assert_eq!(client.clone().cache.oneshot(7).await, Ok((7, 1)));
    assert_eq!(client.cache.oneshot(7).await, Ok((7, 1)));
}

#[tokio::test(start_paused = true)]
async fn inner_futures_may_be_pinned_and_sent_or_stay_on_their_thread() {
    let pinned = service_fn(|request: u64| async move {
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(request)
    });
    let sent = CacheLayer::new(SECOND).layer(pinned);
    assert_eq!(tokio::spawn(sent.oneshot(7)).await.unwrap(), Ok(7));

    let local = Rc::new(7_u64);
    let stays = service_fn(move |request: u64| {
        let local = Rc::clone(&local);
        async move {
            tokio::task::yield_now().await;
            Ok::<_, Infallible>(request + *local)
        }
    });
    assert_eq!(CacheLayer::new(SECOND).layer(stays).oneshot(7).await, Ok(14));
}

#[tokio::test(start_paused = true)]
async fn a_hit_is_there_at_the_first_poll_whatever_the_inner_service_does() {
    let api = Api::default();
    let mut cache = CacheLayer::new(SECOND).layer(api.watch());
    assert_eq!(cache.ready().await.unwrap().call(7).await, Ok((7, 1)));
    api.never_ready();
    let mut hit = cache.ready().await.unwrap().call(7);
    assert!(poll_once(&mut hit).is_ready());
    let mut miss = cache.ready().await.unwrap().call(8);
    assert!(poll_once(&mut miss).is_pending());
}

#[tokio::test(start_paused = true)]
async fn hits_pass_a_limit_that_is_reached() {
    let api = Api::default();
    let cache =
        CacheLayer::new(60 * SECOND).layer(ConcurrencyLimitLayer::new(1).layer(api.watch()));
    let ask = |request| cache.clone().oneshot(request);
    ask(1).await.unwrap();
    let mut slow = Box::pin(ask(2));
    assert!(poll_once(&mut slow).is_pending());
    let mut waits = Box::pin(ask(3));
    assert!(poll_once(&mut waits).is_pending());
    // One is at work, one waits for it; this passes both.
    assert!(poll_once(&mut Box::pin(ask(1))).is_ready());
    let (slow, waits, other) = tokio::join!(slow, waits, ask(4));
    assert_eq!((slow, waits, other), (Ok((2, 2)), Ok((3, 3)), Ok((4, 4))));
}

#[tokio::test(start_paused = true)]
async fn what_weighs_too_much_is_not_kept_and_is_given_all_the_same() {
    let api = Api::default();
    // The request is the weight.
    let layer = CacheLayer::forever().max_weight(160, weigh_fn(|key: &u64, _: &(u64, usize)| *key));
    let handle = layer.handle();
    let cache = layer.layer(api.watch());
    for (request, kept) in [(10, true), (11, false), (0, true)] {
        cache.clone().oneshot(request).await.unwrap();
        assert_eq!(handle.get(&request).is_some(), kept, "{request}");
    }
    assert_eq!((handle.stats().oversized, handle.stats().weight), (1, 11));
    for request in (1..10).chain(20..1000) {
        cache.clone().oneshot(request).await.unwrap();
    }
    assert!(handle.stats().weight <= 160);
}

#[tokio::test(start_paused = true)]
async fn jitter_spreads_what_was_fetched_at_once() {
    let api = Api::default();
    api.takes(Duration::ZERO);
    let layer = CacheLayer::new(100 * SECOND).jitter(0.5).seed(7);
    let handle = layer.handle();
    let cache = layer.layer(api);
    for request in 0..100 {
        cache.clone().oneshot(request).await.unwrap();
    }
    let mut left = Vec::new();
    for _ in 0..11 {
        left.push((0..100).filter(|request| handle.get(request).is_some()).count());
        advance(10 * SECOND).await;
    }
    assert_eq!((left[0], left[5], left[10]), (100, 100, 0), "{left:?}");
    assert!(left[5..].windows(2).all(|pair| pair[1] < pair[0]), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn an_error_is_not_kept() {
    let api = Api::default();
    let cache = CacheLayer::forever().layer(api.watch());
    api.end(End::Fails);
    assert!(cache.clone().oneshot(1).await.is_err());
    api.end(End::Answers);
    assert_eq!(cache.clone().oneshot(1).await, Ok((1, 2)));
}

#[tokio::test(start_paused = true)]
async fn an_error_is_kept_where_that_is_asked_for() {
    let api = Api::default();
    let cache = CacheLayer::forever().share_errors(SECOND).layer(api.watch());
    api.end(End::Fails);
    assert!(cache.clone().oneshot(1).await.is_err());
    api.end(End::Answers);
    assert!(cache.clone().oneshot(1).await.is_err());
    advance(SECOND).await;
    assert_eq!(cache.clone().oneshot(1).await, Ok((1, 2)));
    advance(1000 * SECOND).await;
    assert_eq!(cache.clone().oneshot(1).await, Ok((1, 2)));
}

#[tokio::test(start_paused = true)]
async fn an_observer_is_told() {
    let api = Api::default();
    let observer = Arc::new(RecordingObserver::new());
    let cache = CacheLayer::new(SECOND).observer(observer.clone()).layer(api.watch());
    let ask = || cache.clone().oneshot(1);
    let _ = tokio::join!(ask(), ask());
    ask().await.unwrap();
    let mut told: Vec<_> = observer.take().into_iter().map(|told| told.event).collect();
    told.sort();
    let events = ["collapsed", "hit", "miss"];
    assert_eq!(told, events.map(|status| format!("Cache {{ status: {status:?} }}")));
}

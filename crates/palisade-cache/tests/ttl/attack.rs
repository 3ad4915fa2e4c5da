//! Attacks.

use std::{
    any::Any,
    hash::{Hash, Hasher},
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

use palisade_cache::{
    BoxTask, CacheHandle, CacheLayer, Ttl, background_fn, key_fn, ttl_fn, weigh_fn,
};
use tokio::time::{advance, sleep, timeout};
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimitLayer, service_fn};

use crate::support::{Api, Down, End, lock, poll_once};

const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_not_polled_any_more_holds_nobody_up() {
    let api = Api::default();
    let cache = CacheLayer::new(SECOND).layer(api.watch());
    // Kept, as the loser of a select that goes on later.
    let mut leader = cache.clone().oneshot(7);
    assert!(poll_once(&mut leader).is_pending());
    let follower = tokio::spawn(cache.clone().oneshot(7));
    assert_eq!(timeout(LONG, follower).await.unwrap().unwrap(), Ok((7, 1)));
    assert_eq!(leader.await, Ok((7, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_hedge_is_answered_though_the_first_try_is_not_polled_any_more() {
    let api = Api::default();
    let cache = CacheLayer::new(SECOND).layer(api.watch());
    let slow = cache.clone().oneshot(7);
    tokio::pin!(slow);
    let early = tokio::select! {
        answer = &mut slow => Some(answer),
        () = sleep(Duration::from_millis(10)) => None,
    };
    assert_eq!(early, None);
    // In a new task, as a hedge.
    let hedge = tokio::spawn(cache.oneshot(7));
    assert_eq!(timeout(LONG, hedge).await.unwrap().unwrap(), Ok((7, 1)));
}

/// Keeps what is dropped with it.
struct Holds(#[expect(dead_code, reason = "it is only dropped")] Mutex<Box<dyn Any + Send>>);

impl Wake for Holds {
    fn wake(self: Arc<Self>) {}
}

#[tokio::test(start_paused = true)]
async fn a_waker_may_take_others_along_when_it_is_dropped() {
    // Who waits is polled by another one, or leaves.
    for leaves in [false, true] {
        let api = Api::default();
        let layer = CacheLayer::new(SECOND);
        let handle = layer.handle();
        let cache = layer.layer(api.watch());
        let mut all = [(); 3].map(|()| Box::pin(cache.clone().oneshot(7)));
        for one in &mut all {
            assert!(poll_once(one).is_pending());
        }
        let [mut stays, mut other, held] = all;
        let waker = Waker::from(Arc::new(Holds(Mutex::new(Box::new(held)))));
        assert!(Pin::new(&mut other).poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        match leaves {
            true => drop(other),
            false => assert!(poll_once(&mut other).is_pending()),
        }
        advance(SECOND).await;
        assert!(poll_once(&mut stays).is_ready());
        assert_eq!(handle.stats().in_flight, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_background_that_stops_holds_nobody_up() {
    let api = Api::default();
    let kept: Arc<Mutex<Vec<BoxTask>>> = Arc::default();
    let tasks = Arc::clone(&kept);
    let layer = CacheLayer::new(SECOND).stale_while_revalidate(SECOND);
    let layer = layer.background(background_fn(move |mut task: BoxTask| {
        // It runs for a moment, and then no more.
        assert!(poll_once(&mut task).is_pending());
        lock(&tasks).push(task);
    }));
    let cache = layer.layer(api.watch());
    assert_eq!(cache.clone().oneshot(7).await, Ok((7, 1)));
    advance(Duration::from_millis(1500)).await;
    api.takes(20 * SECOND);
    assert_eq!(cache.clone().oneshot(7).await, Ok((7, 1)));
    advance(10 * SECOND).await;
    let answer = tokio::spawn(cache.clone().oneshot(7));
    assert!(timeout(LONG, answer).await.unwrap().unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_background_that_drops_tasks_does_no_harm() {
    let api = Api::default();
    let layer = CacheLayer::new(SECOND).stale_while_revalidate(SECOND);
    let layer = layer.background(background_fn(|task: BoxTask| drop(task)));
    let handle = layer.handle();
    let cache = layer.layer(api.watch());
    assert_eq!(cache.clone().oneshot(7).await, Ok((7, 1)));
    advance(Duration::from_millis(1500)).await;
    assert_eq!(cache.clone().oneshot(7).await, Ok((7, 1)));
    assert_eq!(handle.stats().in_flight, 0);
    advance(10 * SECOND).await;
    assert_eq!(cache.clone().oneshot(7).await, Ok((7, 2)));
}

#[tokio::test(start_paused = true)]
async fn who_asks_after_an_invalidation_gets_what_is_newer() {
    let api = Api::default();
    let layer = CacheLayer::new(60 * SECOND);
    let handle = layer.handle();
    let cache = layer.layer(api.watch());
    let old = tokio::spawn(cache.clone().oneshot(7));
    tokio::task::yield_now().await;
    handle.invalidate(&7);
    assert_eq!(cache.clone().oneshot(7).await, Ok((7, 2)));
    assert_eq!(old.await.unwrap(), Ok((7, 1)));
    assert_eq!(cache.oneshot(7).await, Ok((7, 2)));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_over_a_limit_of_one() {
    let api = Api::default();
    let cache = CacheLayer::new(LONG).layer(ConcurrencyLimitLayer::new(1).layer(api.watch()));
    let mut all = tokio::task::JoinSet::new();
    for index in 0..1000 {
        all.spawn(cache.clone().oneshot(index % 10));
    }
    assert!(timeout(LONG, all.join_all()).await.unwrap().iter().all(Result::is_ok));
    assert_eq!(api.calls(), 10);
}

#[tokio::test(start_paused = true)]
async fn panics_of_what_users_give_hang_nobody() {
    for at in ["ttl", "weigh", "key"] {
        let api = Api::default();
        let count = Arc::new(AtomicUsize::new(0));
        let boom = move |here: &str| {
            if here == at && count.fetch_add(1, Ordering::SeqCst) == 0 {
                std::panic::resume_unwind(Box::new("scripted"));
            }
        };
        let (one, two, three) = (boom.clone(), boom.clone(), boom);
        let layer = CacheLayer::new(60 * SECOND)
            .key(key_fn(move |request: &u64| {
                three("key");
                *request
            }))
            .ttl(ttl_fn(move |_: &u64, _: &(u64, usize)| {
                one("ttl");
                Ttl::For(SECOND)
            }))
            .max_weight(
                1000,
                weigh_fn(move |_: &u64, _: &(u64, usize)| {
                    two("weigh");
                    1
                }),
            );
        let handle = layer.handle();
        let cache = layer.layer(api.watch());
        let mut all = Vec::new();
        for _ in 0..5 {
            let cache = cache.clone();
            all.push(tokio::spawn(async move { cache.oneshot(7).await }));
        }
        let mut panicked = 0;
        for one in all {
            match timeout(LONG, one).await.expect(at) {
                Ok(answer) => assert!(answer.is_ok()),
                Err(_) => panicked += 1,
            }
        }
        assert_eq!((panicked, api.alive(), handle.stats().in_flight), (1, 0, 0), "{at}");
    }
}

/// Equal to all that have the same number; a clone of it may panic, once.
#[derive(Debug)]
struct Fragile(u64, Arc<AtomicUsize>);

impl Clone for Fragile {
    fn clone(&self) -> Self {
        if self.1.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::panic::resume_unwind(Box::new("scripted"));
        }
        Self(self.0, Arc::clone(&self.1))
    }
}

impl PartialEq for Fragile {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Fragile {}

impl Hash for Fragile {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

#[tokio::test(start_paused = true)]
async fn a_clone_that_panics_harms_nobody_else() {
    for at in 1..30 {
        let left = Arc::new(AtomicUsize::new(at));
        let echo = service_fn(|request: Fragile| async move {
            sleep(SECOND).await;
            Ok::<_, Down>(request)
        });
        let layer = CacheLayer::new(SECOND).stale_while_revalidate(SECOND);
        let handle = layer.handle();
        let cache = layer.layer(echo);
        let (mut panicked, mut answered) = (0, 0);
        // The last ones find it past its time.
        for wait in [0, 0, 500, 500] {
            sleep(Duration::from_millis(wait)).await;
            let all: Vec<_> = (0..4)
                .map(|_| {
                    let (cache, request) = (cache.clone(), Fragile(7, Arc::clone(&left)));
                    tokio::spawn(async move { cache.oneshot(request).await })
                })
                .collect();
            for one in all {
                match timeout(LONG, one).await.unwrap() {
                    Ok(answer) => answered += usize::from(answer.is_ok()),
                    Err(_) => panicked += 1,
                }
            }
        }
        let panics = usize::from(!(1..=at).contains(&left.load(Ordering::SeqCst)));
        assert_eq!((panicked, answered), (panics, 16 - panics), "{at}");
        assert_eq!(handle.stats().in_flight, 0, "{at}");
    }
}

/// Looks into the cache, and changes it, when it is dropped.
#[derive(Clone)]
struct Meddles(Arc<OnceLock<CacheHandle<u64, Self>>>);

impl Drop for Meddles {
    fn drop(&mut self) {
        if let Some(handle) = self.0.get() {
            let before = handle.stats();
            handle.invalidate(&(before.misses % 3));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn answers_may_change_the_cache_when_they_are_dropped() {
    let within = Arc::new(OnceLock::new());
    let answer = Meddles(Arc::clone(&within));
    let echo = service_fn(move |_: u64| {
        let answer = answer.clone();
        async move {
            sleep(SECOND).await;
            Ok::<_, Down>(answer)
        }
    });
    let layer = CacheLayer::new(5 * SECOND).max_entries(2).stale_while_revalidate(5 * SECOND);
    let handle = layer.handle();
    assert!(within.set(handle.clone()).is_ok());
    let cache = layer.layer(echo);
    for round in 0..30 {
        let all: Vec<_> =
            (0..9).map(|request| tokio::spawn(cache.clone().oneshot(request % 3))).collect();
        if round % 3 == 0 {
            all[0].abort();
            handle.insert(1, Meddles(Arc::clone(&within)), SECOND);
        }
        if round % 5 == 0 {
            handle.clear();
        }
        for one in all {
            let _ = timeout(LONG, one).await.unwrap();
        }
        advance(SECOND).await;
    }
    assert_eq!(handle.stats().in_flight, 0);
}

/// A key that looks into the cache when it is dropped.
#[derive(Clone)]
struct Watches(u64, Arc<OnceLock<CacheHandle<Self, (u64, usize)>>>);

impl PartialEq for Watches {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Watches {}

impl Hash for Watches {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        if let Some(handle) = self.1.get() {
            handle.stats();
        }
    }
}

#[test]
fn keys_may_look_into_the_cache_when_they_are_dropped() {
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let within = Arc::new(OnceLock::new());
            let key = move |request: &u64| Watches(*request, Arc::clone(&within));
            let keys = key.clone();
            let layer = CacheLayer::new(SECOND).max_entries(2).key(key_fn(key));
            let handle = layer.handle();
            assert!(keys(&0).1.set(handle.clone()).is_ok());
            let cache = layer.layer(Api::default());
            for round in 0..20 {
                let asked = tokio::spawn(cache.clone().oneshot(round % 3));
                tokio::task::yield_now().await;
                match round % 4 {
                    0 => handle.insert(keys(&(round % 3)), (0, 0), SECOND),
                    1 => drop(handle.invalidate(&keys(&(round % 3)))),
                    2 => handle.clear(),
                    _ => {}
                }
                asked.await.unwrap().unwrap();
                advance(SECOND).await;
            }
        });
        done.send(()).unwrap();
    });
    is_done.recv_timeout(LONG.min(30 * SECOND)).expect("it goes on");
}

#[tokio::test(start_paused = true)]
async fn many_failures_end() {
    let api = Api::default();
    api.end(End::Fails);
    let cache = CacheLayer::new(SECOND).layer(api.watch());
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        all.spawn(cache.clone().oneshot(7));
    }
    let start = tokio::time::Instant::now();
    assert!(all.join_all().await.iter().all(|answer| *answer == Err(Down)));
    assert!(start.elapsed() < SECOND && api.calls() <= 1000);
    let _ = cache.clone().ready().await.map(|cache| drop(cache.call(7)));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_is_left_alone_for_a_while() {
    let api = Api::default();
    api.takes(Duration::ZERO);
    let layer = CacheLayer::new(SECOND).stale_while_revalidate(600 * SECOND);
    let cache = layer.background(background_fn(|task| drop(tokio::spawn(task)))).layer(api.watch());
    assert_eq!(cache.clone().oneshot(7).await, Ok((7, 1)));
    advance(5 * SECOND).await;
    api.end(End::Fails);
    for _ in 0..100 {
        assert_eq!(cache.clone().oneshot(7).await, Ok((7, 1)));
        tokio::task::yield_now().await;
        sleep(Duration::from_millis(1)).await;
    }
    assert!(api.calls() < 10, "{} calls in a tenth of a second", api.calls());
}

#[tokio::test(start_paused = true)]
async fn no_bounds_are_too_wide_or_too_narrow() {
    let bounds = [1, 2, 31, 32, 33, u64::from(u32::MAX), 1 << 53, u64::MAX - 1, u64::MAX];
    for most in bounds {
        for largest in bounds {
            let api = Api::default();
            let layer = CacheLayer::new(Duration::MAX).max_entries(most);
            let cache = layer.max_entry_weight(largest).layer(api.watch());
            assert_eq!(cache.clone().oneshot(7).await, Ok((7, 1)));
            assert_eq!(cache.oneshot(7).await, Ok((7, 1)), "{most} {largest}");

            let api = Api::default();
            let weigh = weigh_fn(move |_: &u64, _: &(u64, usize)| largest);
            let layer = CacheLayer::new(SECOND).max_weight(most, weigh);
            let handle = layer.handle();
            let cache = layer.layer(api.watch());
            assert_eq!(cache.oneshot(7).await, Ok((7, 1)));
            let stats = handle.stats();
            assert_eq!(stats.entries as u64 + stats.oversized, 1, "{most} {largest}");
            assert!(stats.weight <= most);
        }
    }
}

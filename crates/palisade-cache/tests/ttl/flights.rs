//! Those who miss at the same time.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use palisade_cache::{CacheLayer, Ttl};
use tokio::{task::JoinSet, time::advance};
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimitLayer, service_fn};

use crate::support::{Api, Down, End, poll_once};

const SECOND: Duration = Duration::from_secs(1);

/// Counts how often it is polled.
struct Counted<F>(Pin<Box<F>>, Arc<AtomicUsize>);

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.as_mut().poll(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_have_one_call_and_are_polled_twice() {
    let api = Api::default();
    let cache = CacheLayer::new(SECOND).layer(api.watch());
    let polls: Vec<_> = (0..1000).map(|_| Arc::new(AtomicUsize::new(0))).collect();
    let mut tasks = JoinSet::new();
    for polls in &polls {
        tasks.spawn(Counted(Box::pin(cache.clone().oneshot(7)), polls.clone()));
    }
    while let Some(answer) = tasks.join_next().await {
        assert_eq!(answer.unwrap(), Ok((7, 1)));
    }
    assert_eq!((api.calls(), api.polls(), api.alive()), (1, 2, 0));
    let most = polls.iter().map(|polls| polls.load(Ordering::SeqCst)).max();
    assert_eq!(most, Some(2));
}

#[tokio::test(start_paused = true)]
async fn all_are_polled_as_often_as_the_call_can_go_on() {
    const STEPS: usize = 10;
    let steps = service_fn(|request: u64| async move {
        for _ in 0..STEPS / 2 {
            tokio::time::sleep(SECOND).await;
            tokio::task::yield_now().await;
        }
        Ok::<_, Down>(request)
    });
    let cache = CacheLayer::new(SECOND).layer(steps);
    let polls: Vec<_> = (0..1000).map(|_| Arc::new(AtomicUsize::new(0))).collect();
    let mut tasks = JoinSet::new();
    for polls in &polls {
        tasks.spawn(Counted(Box::pin(cache.clone().oneshot(7)), polls.clone()));
    }
    while let Some(answer) = tasks.join_next().await {
        assert_eq!(answer.unwrap(), Ok(7));
    }
    let most = polls.iter().map(|polls| polls.load(Ordering::SeqCst)).max();
    assert!(most.is_some_and(|most| most <= STEPS + 2), "{most:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn between_threads_as_well() {
    for _ in 0..200 {
        let api = Api::default();
        api.takes(Duration::from_micros(50));
        let cache = CacheLayer::new(60 * SECOND).layer(api.watch());
        let mut tasks = JoinSet::new();
        for _ in 0..50 {
            tasks.spawn(cache.clone().oneshot(7));
        }
        while let Some(answer) = tasks.join_next().await {
            assert_eq!(answer.unwrap(), Ok((7, 1)));
        }
        assert_eq!(api.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_dropped_takes_nothing_from_the_others() {
    // Which of three are dropped, and after how many polls.
    for dropped in [&[0][..], &[1], &[0, 1], &[1, 0], &[0, 2], &[2, 1]] {
        for polls in 0..3 {
            let api = Api::default();
            let layer = CacheLayer::new(SECOND);
            let handle = layer.handle();
            let cache = layer.layer(api.watch());
            let mut calls: Vec<_> =
                (0..3).map(|_| Some(Box::pin(cache.clone().call_unready(7)))).collect();
            for _ in 0..polls {
                for call in calls.iter_mut().flatten() {
                    assert!(poll_once(call).is_pending());
                }
                advance(Duration::from_millis(40)).await;
            }
            for &number in dropped {
                calls[number] = None;
            }
            let rest = calls.into_iter().flatten().map(tokio::spawn);
            for call in rest.collect::<Vec<_>>() {
                assert_eq!(call.await.unwrap(), Ok((7, 1)), "{dropped:?} {polls}");
            }
            assert_eq!((api.calls(), api.alive()), (1, 0), "{dropped:?} {polls}");
            assert_eq!(handle.stats().in_flight, 0);
            assert_eq!(handle.get(&7), Some((7, 1)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_call_is_dropped_with_the_last() {
    let api = Api::default();
    let layer = CacheLayer::new(SECOND);
    let handle = layer.handle();
    let cache = layer.layer(api.watch());
    let mut calls = [cache.clone().call_unready(7), cache.clone().call_unready(7)];
    for call in &mut calls {
        assert!(poll_once(call).is_pending());
    }
    assert_eq!((api.alive(), handle.stats().in_flight), (1, 1));
    drop(calls);
    assert_eq!((api.alive(), handle.stats().in_flight), (0, 0));
    assert_eq!(cache.oneshot(7).await, Ok((7, 2)));
}

#[tokio::test(start_paused = true)]
async fn who_never_polls_holds_nobody_up() {
    let api = Api::default();
    let cache = CacheLayer::new(SECOND).layer(api.watch());
    let _unpolled = cache.clone().call_unready(7);
    assert_eq!(cache.clone().oneshot(7).await, Ok((7, 1)));
    // One that was polled, and is not when the call can go on.
    let mut idle = cache.clone().call_unready(8);
    assert!(poll_once(&mut idle).is_pending());
    advance(SECOND).await;
    assert_eq!(cache.clone().oneshot(8).await, Ok((8, 2)));
    assert_eq!(idle.await, Ok((8, 2)));
    assert_eq!(api.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_error_goes_to_one_and_after_three_everybody_calls() {
    let api = Api::default();
    api.end(End::Fails);
    let cache = CacheLayer::new(SECOND).layer(api.watch());
    let started = tokio::time::Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..10 {
        tasks.spawn(cache.clone().oneshot(7));
    }
    let mut ended = Vec::new();
    while let Some(answer) = tasks.join_next().await {
        assert_eq!(answer.unwrap(), Err(Down));
        ended.push(started.elapsed().as_millis() / 100);
    }
    assert_eq!(ended, [1, 2, 3, 4, 4, 4, 4, 4, 4, 4]);
    assert_eq!((api.calls(), api.alive()), (10, 0));
}

#[tokio::test(start_paused = true)]
async fn after_an_error_the_answer_of_the_next_call_is_for_all() {
    let api = Api::default();
    api.end(End::Fails);
    let cache = CacheLayer::new(SECOND).layer(api.watch());
    let mut tasks = JoinSet::new();
    for _ in 0..10 {
        tasks.spawn(cache.clone().oneshot(7));
    }
    assert_eq!(tasks.join_next().await.unwrap().unwrap(), Err(Down));
    api.end(End::Answers);
    while let Some(answer) = tasks.join_next().await {
        assert_eq!(answer.unwrap(), Ok((7, 2)));
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_is_shared_goes_to_all() {
    let api = Api::default();
    api.end(End::Fails);
    let cache = CacheLayer::new(SECOND).share_errors(Ttl::Never).layer(api.watch());
    let mut tasks = JoinSet::new();
    for _ in 0..10 {
        tasks.spawn(cache.clone().oneshot(7));
    }
    while let Some(answer) = tasks.join_next().await {
        assert_eq!(answer.unwrap(), Err(Down));
    }
    assert_eq!(api.calls(), 1);
    assert_eq!(cache.oneshot(7).await, Err(Down));
    assert_eq!(api.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_panic_goes_to_one_and_another_calls() {
    let api = Api::default();
    api.end(End::Panics);
    let layer = CacheLayer::new(SECOND);
    let handle = layer.handle();
    let cache = layer.layer(api.watch());
    let mut tasks = JoinSet::new();
    for _ in 0..10 {
        tasks.spawn(cache.clone().oneshot(7));
    }
    assert!(tasks.join_next().await.unwrap().unwrap_err().is_panic());
    api.end(End::Answers);
    while let Some(answer) = tasks.join_next().await {
        assert_eq!(answer.unwrap(), Ok((7, 2)));
    }
    assert_eq!((api.alive(), handle.stats().in_flight), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_what_judges_an_answer_harms_no_other() {
    use std::sync::atomic::AtomicBool;

    use palisade_cache::ttl_fn;

    let api = Api::default();
    let panics = Arc::new(AtomicBool::new(true));
    let cache = CacheLayer::new(SECOND)
        .ttl(ttl_fn(move |_: &u64, _: &(u64, usize)| {
            if panics.swap(false, Ordering::SeqCst) {
                std::panic::resume_unwind(Box::new("scripted"));
            }
            Ttl::Forever
        }))
        .layer(api.watch());
    let mut one = cache.clone().call_unready(7);
    let mut other = cache.clone().call_unready(7);
    assert!(poll_once(&mut one).is_pending());
    assert!(poll_once(&mut other).is_pending());
    advance(SECOND).await;
    let panic = catch_unwind(AssertUnwindSafe(|| poll_once(&mut one)));
    assert!(panic.is_err());
    drop(one);
    assert_eq!(other.await, Ok((7, 2)));
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_one_below_is_no_deadlock() {
    let api = Api::default();
    let limited = ConcurrencyLimitLayer::new(1).layer(api.watch());
    let cache = CacheLayer::new(60 * SECOND).layer(limited);
    let mut tasks = JoinSet::new();
    for request in (0..20).cycle().take(200) {
        tasks.spawn(cache.clone().oneshot(request));
    }
    while let Some(answer) = tasks.join_next().await {
        answer.unwrap().unwrap();
    }
    assert_eq!(api.calls(), 20);
}

#[tokio::test(start_paused = true)]
async fn without_single_flight_each_calls_and_the_first_is_kept() {
    let api = Api::default();
    let layer = CacheLayer::new(SECOND).single_flight(false);
    let handle = layer.handle();
    let cache = layer.layer(api.watch());
    let ask = || cache.clone().oneshot(7);
    let all = tokio::join!(ask(), ask(), ask());
    assert_eq!(all, (Ok((7, 1)), Ok((7, 2)), Ok((7, 3))));
    assert_eq!(ask().await, Ok((7, 1)));
    assert_eq!(handle.stats().in_flight, 0);
}

/// A call without asking for readiness, which a cache always has.
trait CallUnready: Service<u64> + Sized {
    fn call_unready(mut self, request: u64) -> Self::Future {
        self.call(request)
    }
}

impl<S: Service<u64>> CallUnready for S {}

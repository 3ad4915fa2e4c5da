//! Answers past their time, and shortly before it.

use std::time::Duration;

use palisade_cache::{CacheLayer, Ttl, background_fn, ttl_fn};
use palisade_core::{Outcome, classify_fn};
use tokio::time::{Instant, advance};
use tower::{Layer, ServiceExt};

use crate::support::{Api, Down, End, poll_once};

const SECOND: Duration = Duration::from_secs(1);

/// Spawns what is to be done in the background.
macro_rules! spawned {
    ($layer:expr) => {
        $layer.background(background_fn(|task| drop(tokio::spawn(task))))
    };
}

/// Lets what was spawned come to its end.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(200)).await;
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_given_at_once_and_refreshed_by_one_call() {
    let api = Api::default();
    let layer = spawned!(CacheLayer::new(10 * SECOND).stale_while_revalidate(5 * SECOND));
    let handle = layer.handle();
    let cache = layer.layer(api.watch());
    let ask = || cache.clone().oneshot(7);
    ask().await.unwrap();
    advance(12 * SECOND).await;
    let asked = Instant::now();
    for _ in 0..10 {
        assert_eq!(ask().await, Ok((7, 1)));
    }
    assert_eq!(asked.elapsed(), Duration::ZERO);
    settle().await;
    assert_eq!(ask().await, Ok((7, 2)));
    let stats = handle.stats();
    assert_eq!((stats.stale, stats.refreshed, stats.hits, stats.misses), (10, 1, 1, 1));
    // Past the window, it is waited for.
    advance(15 * SECOND).await;
    assert_eq!(ask().await, Ok((7, 3)));
    assert_eq!(api.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn without_a_background_the_first_waits_for_the_refresh() {
    let api = Api::default();
    let cache = CacheLayer::new(SECOND).stale_while_revalidate(5 * SECOND).layer(api.watch());
    let ask = || cache.clone().oneshot(7);
    ask().await.unwrap();
    advance(2 * SECOND).await;
    let first = tokio::spawn(ask());
    tokio::task::yield_now().await;
    assert_eq!(ask().await, Ok((7, 1)));
    assert_eq!(first.await.unwrap(), Ok((7, 2)));
    // One that is dropped leaves it to the next.
    advance(2 * SECOND).await;
    let first = tokio::spawn(ask());
    tokio::task::yield_now().await;
    first.abort();
    assert!(first.await.is_err());
    assert_eq!(ask().await, Ok((7, 4)));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_leaves_what_there_is() {
    for inline in [true, false] {
        let api = Api::default();
        let layer = CacheLayer::new(SECOND).stale_while_revalidate(5 * SECOND);
        let background = spawned!(layer.clone()).layer(api.watch());
        let inlined = CacheLayer::new(SECOND).stale_while_revalidate(5 * SECOND).layer(api.watch());
        let ask = || async {
            match inline {
                true => inlined.clone().oneshot(7).await,
                false => background.clone().oneshot(7).await,
            }
        };
        ask().await.unwrap();
        api.end(End::Fails);
        for _ in 0..3 {
            advance(SECOND).await;
            assert_eq!(ask().await, Ok((7, 1)), "{inline}");
            settle().await;
        }
        // Two seconds after the second failure it is not called yet.
        assert_eq!(api.calls(), 3, "{inline}");
        advance(5 * SECOND).await;
        assert_eq!(ask().await, Err(Down), "{inline}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_made_up_for_until_the_window_ends() {
    let api = Api::default();
    api.takes(Duration::ZERO);
    let cache = CacheLayer::new(10 * SECOND).stale_if_error(20 * SECOND).layer(api.watch());
    let ask = || cache.clone().oneshot(7);
    ask().await.unwrap();
    api.end(End::Fails);
    for (later, answer, calls) in
        [(9, Ok((7, 1)), 1), (1, Ok((7, 1)), 2), (19, Ok((7, 1)), 3), (1, Err(Down), 4)]
    {
        advance(later * SECOND).await;
        assert_eq!((ask().await, api.calls()), (answer, calls), "{later}");
    }
    api.end(End::Answers);
    assert_eq!(ask().await, Ok((7, 5)));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_made_up_for_to_all_who_wait() {
    let api = Api::default();
    let layer = CacheLayer::new(SECOND).stale_if_error(20 * SECOND);
    let handle = layer.handle();
    let cache = layer.layer(api.watch());
    let ask = || cache.clone().oneshot(7);
    ask().await.unwrap();
    api.end(End::Fails);
    advance(2 * SECOND).await;
    assert_eq!(tokio::join!(ask(), ask(), ask()), (Ok((7, 1)), Ok((7, 1)), Ok((7, 1))));
    assert_eq!((api.calls(), handle.stats().stale), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn a_response_may_be_a_failure() {
    let api = Api::default();
    let cache = CacheLayer::new(SECOND)
        .ttl(ttl_fn(|_: &u64, _: &(u64, usize)| Ttl::For(SECOND)))
        .stale_if_error(20 * SECOND)
        .failures(classify_fn(|result: Result<&(u64, usize), &Down>| match result {
            Ok((_, 2)) => Outcome::Transient,
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::Rejected,
        }))
        .layer(api.watch());
    let ask = || cache.clone().oneshot(7);
    ask().await.unwrap();
    advance(2 * SECOND).await;
    assert_eq!(ask().await, Ok((7, 1)));
    api.end(End::Fails);
    advance(SECOND).await;
    assert_eq!(ask().await, Err(Down));
    api.end(End::Answers);
    assert_eq!(ask().await, Ok((7, 4)));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_down_is_called_ever_less() {
    #[derive(Clone, Copy, Debug)]
    enum Given {
        WhileRevalidated,
        IfError,
        Early,
    }
    for given in [Given::WhileRevalidated, Given::IfError, Given::Early] {
        for end in [End::Fails, End::Panics] {
            let api = Api::default();
            let layer = CacheLayer::new(SECOND);
            let cache = match given {
                Given::WhileRevalidated => layer.stale_while_revalidate(600 * SECOND),
                Given::IfError => layer.stale_if_error(600 * SECOND),
                Given::Early => CacheLayer::new(600 * SECOND).early_refresh(1e9),
            };
            let cache = cache.layer(api.watch());
            let ask = || tokio::spawn(cache.clone().oneshot(7));
            ask().await.unwrap().unwrap();
            api.end(end);
            advance(SECOND).await;
            for millis in 1..=30_000 {
                advance(Duration::from_millis(1)).await;
                if millis % 10 == 0 {
                    // To whom it comes up, the panic goes.
                    let _ = ask().await;
                }
            }
            // And one when it is fetched: after 1, 2, 4, 8 and 16 seconds.
            assert!((5..=7).contains(&api.calls()), "{given:?} {end:?}: {}", api.calls());
            // Once it is well again, there is no pause.
            api.end(End::Answers);
            tokio::time::sleep(60 * SECOND).await;
            let before = api.calls();
            assert_eq!(ask().await.unwrap(), Ok((7, before + 1)), "{given:?} {end:?}");
            advance(SECOND).await;
            assert_eq!(ask().await.unwrap(), Ok((7, before + 2)), "{given:?} {end:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_is_no_failure_is_no_excuse() {
    let api = Api::default();
    api.takes(Duration::ZERO);
    let layer = CacheLayer::new(SECOND)
        .stale_while_revalidate(10 * SECOND)
        .stale_if_error(100 * SECOND)
        .failures(classify_fn(|_: Result<&(u64, usize), &Down>| Outcome::Rejected));
    let cache = layer.layer(api.watch());
    let ask = || cache.clone().oneshot(7);
    ask().await.unwrap();
    api.end(End::Fails);
    // To whom it comes up, the error goes, and after that it is not asked for a while.
    for (millis, answer) in [(10_900, Err(Down)), (50, Ok((7, 1))), (50, Err(Down)), (1, Err(Down))]
    {
        advance(Duration::from_millis(millis)).await;
        assert_eq!(ask().await, answer);
    }
    assert_eq!(api.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_was_kept_stands_in_for_nothing() {
    let api = Api::default();
    api.takes(Duration::ZERO);
    api.end(End::Fails);
    let layer = CacheLayer::new(SECOND).stale_if_error(100 * SECOND).share_errors(SECOND);
    let handle = layer.handle();
    let cache = layer.layer(api.watch());
    for call in 1..4 {
        assert_eq!(cache.clone().oneshot(7).await, Err(Down));
        assert_eq!(handle.stats().misses, call);
        advance(SECOND).await;
    }
    api.end(End::Answers);
    assert_eq!(cache.oneshot(7).await, Ok((7, 4)));
    assert_eq!(handle.stats().stale, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_to_be_kept_any_more_ends_what_was() {
    let api = Api::default();
    let layer = CacheLayer::new(SECOND)
        .ttl(ttl_fn(|_: &u64, (_, call): &(u64, usize)| match call {
            1 => Ttl::For(SECOND),
            _ => Ttl::Never,
        }))
        .stale_if_error(20 * SECOND);
    let handle = layer.handle();
    let cache = layer.layer(api.watch());
    let ask = || cache.clone().oneshot(7);
    ask().await.unwrap();
    advance(2 * SECOND).await;
    assert_eq!(ask().await, Ok((7, 2)));
    assert_eq!(handle.stats().entries, 0);
    api.end(End::Fails);
    assert_eq!(ask().await, Err(Down));
}

#[tokio::test(start_paused = true)]
async fn is_refreshed_early_while_it_is_given() {
    let api = Api::default();
    api.takes(SECOND);
    let layer = spawned!(CacheLayer::new(100 * SECOND).early_refresh(1.0).seed(7));
    let handle = layer.handle();
    let cache = layer.layer(api.watch());
    let ask = || cache.clone().oneshot(7);
    ask().await.unwrap();
    // The time is never over, and nobody waits.
    for _ in 0..5000 {
        advance(Duration::from_millis(100)).await;
        let asked = Instant::now();
        ask().await.unwrap();
        assert_eq!(asked.elapsed(), Duration::ZERO);
    }
    let stats = handle.stats();
    assert_eq!((stats.hits, stats.misses), (5000, 1));
    // In 500 seconds, each time a few before the hundredth.
    assert!((5..8).contains(&stats.refreshed), "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn how_long_a_call_took_is_known_whoever_ends_it() {
    let api = Api::default();
    api.takes(10 * SECOND);
    let cache = CacheLayer::new(100 * SECOND).early_refresh(1.0).seed(7).layer(api.watch());
    // It waits before it is polled, and is not polled any more after that.
    let mut leader = Box::pin(cache.clone().oneshot(7));
    advance(1000 * SECOND).await;
    assert!(poll_once(&mut leader).is_pending());
    advance(Duration::from_millis(9_900)).await;
    assert_eq!(cache.clone().oneshot(7).await, Ok((7, 1)));
    api.takes(Duration::ZERO);
    let ask = async |times, every| {
        for _ in 0..times {
            advance(every).await;
            cache.clone().oneshot(7).await.unwrap();
        }
        api.calls()
    };
    // By a lead of ten seconds, it is not refreshed at once, but well before the end.
    assert_eq!(ask(50, SECOND / 100).await, 1);
    assert_eq!(ask(90, SECOND).await, 2);
}

#[tokio::test(start_paused = true)]
async fn who_waits_past_the_window_joins_the_refresh() {
    let api = Api::default();
    api.takes(3 * SECOND);
    let cache = spawned!(CacheLayer::new(SECOND).stale_while_revalidate(SECOND)).layer(api.watch());
    let ask = || cache.clone().oneshot(7);
    ask().await.unwrap();
    advance(SECOND).await;
    assert_eq!(ask().await, Ok((7, 1)));
    tokio::task::yield_now().await;
    advance(SECOND).await;
    assert_eq!(ask().await, Ok((7, 2)));
    assert_eq!(api.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_removed_stands_in_for_nothing() {
    let api = Api::default();
    let layer = CacheLayer::new(SECOND).stale_if_error(20 * SECOND);
    let handle = layer.handle();
    let cache = layer.layer(api.watch());
    let ask = || cache.clone().oneshot(7);
    ask().await.unwrap();
    api.end(End::Fails);
    advance(2 * SECOND).await;
    let asked = tokio::spawn(ask());
    tokio::task::yield_now().await;
    handle.invalidate(&7);
    assert_eq!(asked.await.unwrap(), Err(Down));
}

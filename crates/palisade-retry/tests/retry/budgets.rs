use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use palisade_core::{ByAuthority, Head};
use palisade_retry::{
    Backoff, Budget, InFlightBudget, Jitter, KeyedBudget, RetryInfo, RetryLayer, Stop, TokenBudget,
    WindowBudget,
};
use tokio::task::JoinSet;
use tower::{Layer, ServiceExt, service_fn};

use crate::upstream::{MS, SECOND, Upstream, request, status};

/// Makes calls to a service that is down, and counts the attempts.
async fn storm(budget: impl Budget + Clone, calls: usize) -> usize {
    let upstream = Upstream::new((0..calls * 3).map(|_| status(503)));
    let layer = RetryLayer::http().budget(budget);
    for _ in 0..calls {
        layer.layer(upstream.clone()).oneshot(request("GET")).await.unwrap();
    }
    upstream.count()
}

// A token earned by a success would let retries double the load.
#[tokio::test(start_paused = true)]
async fn retries_stay_a_share_of_the_calls_while_a_service_is_down() {
    let attempts = storm(TokenBudget::new(0.2, 10), 1000).await;
    assert!((1190..=1210).contains(&attempts), "{attempts}");
}

#[tokio::test(start_paused = true)]
async fn retries_stay_within_the_window() {
    let started = tokio::time::Instant::now();
    let upstream = Upstream::new((0..10_000).map(|_| status(503)));
    let layer = RetryLayer::http()
        .budget(WindowBudget::new(1, 0.0))
        .backoff(Backoff::constant(MS).jitter(Jitter::None));
    for _ in 0..1000 {
        layer.layer(upstream.clone()).oneshot(request("GET")).await.unwrap();
        tokio::time::advance(100 * MS).await;
    }
    let seconds = started.elapsed().as_secs() as usize;
    let retries = upstream.count() - 1000;
    assert!((seconds - 10..=seconds + 10).contains(&retries), "{retries} in {seconds} s");
}

/// Sends many requests at once to a service that refuses them all, and counts
/// the attempts.
async fn refused(calls: usize, budget: TokenBudget) -> usize {
    let attempts = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&attempts);
    let refusing = service_fn(move |_: Request<Full<Bytes>>| {
        counter.fetch_add(1, Ordering::Relaxed);
        async {
            tokio::task::yield_now().await;
            Err::<Response<Full<Bytes>>, _>(io::Error::from(io::ErrorKind::ConnectionRefused))
        }
    });
    let layer = RetryLayer::http().backoff(Backoff::constant(MS)).budget(budget);
    let client = layer.layer(refusing);
    let mut tasks = JoinSet::new();
    for _ in 0..calls {
        tasks.spawn(client.clone().oneshot(request("GET")));
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap().unwrap_err();
    }
    attempts.load(Ordering::Relaxed)
}

#[test]
fn many_calls_at_once_stay_within_the_budget_and_leave_nothing() {
    const CALLS: usize = 10_000;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let run = || {
        let budget = TokenBudget::new(0.2, 100);
        let attempts = runtime.block_on(refused(CALLS, budget.clone()));
        assert!(CALLS < attempts, "no call was retried");
        assert!(attempts <= CALLS * 12 / 10 + 100, "{attempts}");
        assert_eq!(budget.available(), 0, "what was spent does not come back");
    };
    // The runtime keeps what it needed at its busiest.
    run();
    let counted = allocation_counter::measure(run);
    assert_eq!(counted.bytes_current, 0, "{counted:?}");
}

#[tokio::test(start_paused = true)]
async fn says_that_the_budget_is_spent() {
    let upstream = Upstream::new([status(503)]);
    let client = RetryLayer::http().budget(TokenBudget::new(0.0, 0)).layer(upstream.clone());
    let response = client.oneshot(request("GET")).await.unwrap();
    let info: &RetryInfo = response.extensions().get().unwrap();
    assert_eq!((info.attempts(), info.stop()), (1, Some(Stop::Budget)));
}

#[tokio::test(start_paused = true)]
async fn layers_and_clones_share_a_budget() {
    let budget = TokenBudget::new(0.0, 2);
    let one = RetryLayer::http().budget(budget.clone());
    let two = RetryLayer::http().attempts(5).budget(budget);
    let upstream = Upstream::new((0..20).map(|_| status(503)));
    let send =
        async |client: crate::upstream::Client<_>| client.oneshot(request("GET")).await.unwrap();
    send(crate::upstream::Client::new(one.layer(upstream.clone()))).await;
    assert_eq!(upstream.take().len(), 3);
    send(crate::upstream::Client::new(one.clone().layer(upstream.clone()))).await;
    send(crate::upstream::Client::new(two.layer(upstream.clone()))).await;
    assert_eq!(upstream.take().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_goes_back_when_the_call_is_dropped_in_the_wait() {
    let budget = TokenBudget::new(0.0, 5);
    let upstream = Upstream::new((0..3).map(|_| status(503)));
    let client = RetryLayer::http()
        .budget(budget.clone())
        .backoff(Backoff::constant(SECOND).jitter(Jitter::None))
        .layer(upstream.clone());
    let call = client.oneshot(request("GET"));
    assert!(tokio::time::timeout(500 * MS, call).await.is_err());
    assert_eq!(budget.available(), 5);
    assert_eq!(upstream.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_of_a_window_goes_back_too() {
    let budget = WindowBudget::new(1, 0.0);
    let bare = request("GET");
    budget.open(Head::of(&bare));
    let tickets: Vec<_> = std::iter::from_fn(|| budget.withdraw(&())).collect();
    assert_eq!(tickets.len(), 10);
    drop(tickets);
    let tickets: Vec<_> = std::iter::from_fn(|| budget.withdraw(&())).collect();
    assert_eq!(tickets.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_stays_spent_when_the_retry_was_sent() {
    let budget = TokenBudget::new(0.0, 5);
    let upstream = Upstream::new([status(503), crate::upstream::Answer::Hang]);
    let client = RetryLayer::http().budget(budget.clone()).layer(upstream.clone());
    let call = client.oneshot(request("GET"));
    assert!(tokio::time::timeout(SECOND, call).await.is_err());
    assert_eq!(upstream.count(), 2);
    assert_eq!(budget.available(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_call_counts_once_in_the_in_flight_budget() {
    // One may be in flight: the second retry of the same call needs the ticket of the first.
    let budget = InFlightBudget::new(0.0, 1);
    let upstream = Upstream::new((0..2).map(|_| status(503)));
    let client = RetryLayer::http().budget(budget.clone()).layer(upstream.clone());
    client.oneshot(request("GET")).await.unwrap();
    assert_eq!(upstream.count(), 3);
    let bare = request("GET");
    let account = budget.open(Head::of(&bare));
    assert!(budget.withdraw(&account).is_some(), "everything was given back");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_down_uses_up_its_own_budget_only() {
    let budget = KeyedBudget::new(ByAuthority, 100, || TokenBudget::new(0.0, 1));
    let layer = RetryLayer::http().budget(budget);
    let mut attempts = Vec::new();
    for host in ["a.example", "a.example", "b.example"] {
        let upstream = Upstream::new((0..3).map(|_| status(503)));
        let mut request = request("GET");
        *request.uri_mut() = format!("https://{host}/").parse().unwrap();
        layer.layer(upstream.clone()).oneshot(request).await.unwrap();
        attempts.push(upstream.count());
    }
    assert_eq!(attempts, [2, 1, 2]);
}

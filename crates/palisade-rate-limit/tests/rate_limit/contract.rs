use std::{sync::Arc, time::Duration};

use palisade_core::{ByAuthority, Head, find_cause, key_fn};
use palisade_rate_limit::{Keyed, Limited, OverBurst, Quota, RateLimitLayer, Wait};
use palisade_testkit::{RecordingObserver, contract, probe_request};
use tower::ServiceExt;

/// One each second, and two hundred at once: a call that is dropped has had its token.
fn layer() -> RateLimitLayer {
    RateLimitLayer::new(Quota::every(Duration::from_secs(1)).burst(200))
}

#[tokio::test(start_paused = true)]
async fn keeps_the_contract() {
    contract!(layer().wait(Wait::reject()))
        .shares(|one, other, probe| async move {
            for _ in 0..200 {
                one.clone().oneshot(probe_request(1)).await.unwrap();
            }
            let calls = probe.calls();
            let refused = other.oneshot(probe_request(1)).await.unwrap_err();
            find_cause::<Limited>(&*refused).is_some() && probe.calls() == calls
        })
        .check()
        .await;
}

#[tokio::test(start_paused = true)]
async fn keeps_it_with_other_rules() {
    let observer = Arc::new(RecordingObserver::new());
    contract!(
        RateLimitLayer::new(Quota::UNLIMITED)
            .and(Quota::per_second(1000).burst(200))
            .over_burst(OverBurst::Debt)
            .observer(observer.clone())
    )
    .check()
    .await;
    contract!(RateLimitLayer::new(Quota::per_hour(1)).observe_only()).check().await;
}

#[tokio::test(start_paused = true)]
async fn keeps_it_with_a_limiter_for_each_key() {
    contract!(layer().keyed(ByAuthority)).check().await;
    // Each key is another, and there is no place for most of them.
    let by_length = || key_fn(|head: Head<'_>| head.uri.path().len());
    contract!(layer().scope(Keyed::by(by_length()).max_keys(2))).check().await;
}

#[tokio::test(start_paused = true)]
async fn keeps_it_with_backpressure() {
    contract!(layer().backpressure()).check().await;
}

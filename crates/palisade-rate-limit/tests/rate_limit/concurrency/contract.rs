//! What every layer keeps.

use std::sync::Arc;

use palisade_core::{ByAuthority, Head, find_cause, key_fn};
use palisade_rate_limit::{
    Aimd, ConcurrencyLimitLayer, Gradient2, LimitPerKey, Limited, UntilHead, Wait,
};
use palisade_testkit::{RecordingObserver, contract, probe_request};
use tower::ServiceExt;

fn layer() -> ConcurrencyLimitLayer {
    ConcurrencyLimitLayer::new(40)
}

#[tokio::test(start_paused = true)]
async fn keeps_the_contract() {
    contract!(layer().wait(Wait::reject()))
        .shares(|one, other, probe| async move {
            let mut responses = Vec::new();
            for _ in 0..40 {
                responses.push(one.clone().oneshot(probe_request(1)).await.unwrap());
            }
            let calls = probe.calls();
            let refused = other.clone().oneshot(probe_request(1)).await.unwrap_err();
            let refused = find_cause::<Limited>(&*refused).is_some() && probe.calls() == calls;
            responses.pop();
            refused && other.oneshot(probe_request(1)).await.is_ok()
        })
        .check()
        .await;
}

#[tokio::test(start_paused = true)]
async fn keeps_it_one_after_the_other() {
    contract!(ConcurrencyLimitLayer::new(1)).check().await;
    contract!(ConcurrencyLimitLayer::new(1).hold(UntilHead)).check().await;
}

#[tokio::test(start_paused = true)]
async fn keeps_it_while_it_learns() {
    let observer = Arc::new(RecordingObserver::new());
    contract!(ConcurrencyLimitLayer::adaptive(Aimd::new(5)).observer(observer.clone()))
        .check()
        .await;
    contract!(ConcurrencyLimitLayer::adaptive(Gradient2::default())).check().await;
}

#[tokio::test(start_paused = true)]
async fn keeps_it_with_a_limit_for_each_key() {
    contract!(layer().keyed(ByAuthority)).check().await;
    // Each key is another, and there is no place for most of them.
    let by_length = || key_fn(|head: Head<'_>| head.uri.path().len());
    contract!(layer().scope(LimitPerKey::by(by_length()).max_keys(2))).check().await;
}

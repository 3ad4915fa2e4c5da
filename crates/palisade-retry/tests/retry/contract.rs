use std::{sync::Arc, time::Duration};

use palisade_core::ByAuthority;
use palisade_retry::{
    Backoff, IdempotentOnly, InFlightBudget, KeyedBudget, Repeatable, RetryLayer, TokenBudget,
    WhenUnready, requests_fn,
};
use palisade_testkit::{RecordingObserver, contract};

#[tokio::test(start_paused = true)]
async fn keeps_the_contract() {
    // The one allocation is the snapshot of the head.
    contract!(RetryLayer::http()).allocations(1).check().await;
}

#[tokio::test(start_paused = true)]
async fn keeps_it_without_an_allocation_for_what_is_sent_once() {
    contract!(RetryLayer::http().requests(requests_fn(|_| Repeatable::Never))).check().await;
    contract!(RetryLayer::http().attempts(1)).check().await;
}

#[tokio::test(start_paused = true)]
async fn keeps_it_with_other_rules() {
    let observer = Arc::new(RecordingObserver::new());
    contract!(
        RetryLayer::http()
            .attempts(5)
            .backoff(Backoff::constant(Duration::ZERO))
            .requests(IdempotentOnly)
            .budget(InFlightBudget::new(0.5, 10))
            .deadline(Duration::from_secs(60))
            .observer(observer.clone())
    )
    .allocations(1)
    .check()
    .await;
    contract!(
        RetryLayer::http()
            .budget(KeyedBudget::new(ByAuthority, 10, TokenBudget::default))
            .when_unready(WhenUnready::ReturnOriginal)
    )
    .allocations(1)
    .check()
    .await;
}

//! The same rules on tower's engine.

use std::io::ErrorKind;

use http::StatusCode;
use palisade_retry::{
    Backoff, Jitter, RetryInfo, RetryLayer, RetryOverride, Stop, TokenBudget, tower_backoff,
    tower_budget,
};
use tower::{
    Layer, ServiceBuilder, ServiceExt,
    retry::{backoff::ExponentialBackoffMaker, budget::TpsBudget},
    util::rng::HasherRng,
};

use crate::upstream::{MS, SECOND, Upstream, error, request, status, with};

fn steady() -> Backoff {
    Backoff::constant(100 * MS).jitter(Jitter::None)
}

#[tokio::test(start_paused = true)]
async fn decides_as_the_layer_does() {
    for code in [200, 404, 429, 500, 501, 503] {
        for method in ["GET", "POST", "PUT"] {
            let answers = || Upstream::new((0..5).map(|_| with(code, &[("retry-after", "2")])));
            let (ours, towers) = (answers(), answers());
            let layer = || RetryLayer::http().backoff(steady()).deadline(5 * SECOND).seed(1);
            let first = layer().layer(ours.clone()).oneshot(request(method)).await.unwrap();
            let client = ServiceBuilder::new().retry(layer().into_policy()).service(towers.clone());
            let second = client.oneshot(request(method)).await.unwrap();
            assert_eq!(first.status(), second.status());
            let info =
                |response: &http::Response<_>| response.extensions().get::<RetryInfo>().copied();
            assert_eq!(info(&first), info(&second), "{method} {code}");
            assert_eq!(ours.count(), towers.count(), "{method} {code}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_serves_many_calls() {
    let budget = TokenBudget::new(0.0, 100);
    let layer = RetryLayer::http().backoff(steady()).deadline(SECOND).budget(budget.clone());
    let upstream = Upstream::new((0..6).map(|_| error(ErrorKind::ConnectionRefused)));
    let client = ServiceBuilder::new().retry(layer.into_policy()).service(upstream.clone());
    for left in [98, 96] {
        client.clone().oneshot(request("POST")).await.unwrap_err();
        assert_eq!(upstream.take().len(), 3);
        assert_eq!(budget.available(), left);
    }
    assert_eq!(client.oneshot(request("POST")).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_counts_from_the_call() {
    let upstream = Upstream::new((0..9).map(|_| status(503)));
    let slow = tower::util::ThenLayer::new(|result| async {
        tokio::time::sleep(100 * MS).await;
        result
    });
    let layer = RetryLayer::http().attempts(9).backoff(steady()).deadline(350 * MS);
    let client =
        ServiceBuilder::new().retry(layer.into_policy()).layer(slow).service(upstream.clone());
    let response = client.oneshot(request("GET")).await.unwrap();
    assert_eq!(response.extensions().get().and_then(RetryInfo::stop), Some(Stop::Deadline));
    assert_eq!(upstream.times(), [0, 200]);
}

#[tokio::test(start_paused = true)]
async fn further_attempts_carry_their_number() {
    let upstream = Upstream::new([status(503)]);
    let name = http::HeaderName::from_static("x-attempt");
    let policy = RetryLayer::http().attempt_header(name.clone()).into_policy();
    let client = ServiceBuilder::new().retry(policy).service(upstream.clone());
    client.oneshot(request("GET")).await.unwrap();
    let seen = upstream.take();
    let numbers: Vec<_> = seen.iter().map(|seen| seen.head.headers.get(&name).cloned()).collect();
    assert_eq!(numbers, [None, Some(http::HeaderValue::from(2))]);
    let resends: Vec<_> = seen
        .iter()
        .map(|seen| palisade_core::Attempt::of(&seen.head.extensions).resends())
        .collect();
    assert_eq!(resends, [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn the_request_may_set_its_own_limits() {
    let upstream = Upstream::new((0..9).map(|_| status(503)));
    let client =
        ServiceBuilder::new().retry(RetryLayer::http().into_policy()).service(upstream.clone());
    let mut request = request("GET");
    request.extensions_mut().insert(RetryOverride::new().attempts(5));
    client.oneshot(request).await.unwrap();
    assert_eq!(upstream.count(), 5);
}

#[tokio::test(start_paused = true)]
async fn towers_back_off_is_a_schedule() {
    let maker =
        ExponentialBackoffMaker::new(100 * MS, 300 * MS, 0.0, HasherRng::default()).unwrap();
    let upstream = Upstream::new((0..3).map(|_| status(503)));
    let layer = RetryLayer::http().attempts(4).backoff(tower_backoff(maker));
    layer.layer(upstream.clone()).oneshot(request("GET")).await.unwrap();
    assert_eq!(upstream.times(), [0, 100, 300, 600]);
}

#[tokio::test(start_paused = true)]
async fn towers_budget_is_a_budget() {
    let budget = std::sync::Arc::new(TpsBudget::new(SECOND, 1, 0.0));
    let upstream = Upstream::new((0..9).map(|_| status(503)));
    let layer = RetryLayer::http().attempts(9).budget(tower_budget(budget));
    let response = layer.layer(upstream.clone()).oneshot(request("GET")).await.unwrap();
    assert_eq!(response.extensions().get().and_then(RetryInfo::stop), Some(Stop::Budget));
    assert_eq!(upstream.count(), 2);
}

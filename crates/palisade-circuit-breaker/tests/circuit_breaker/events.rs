use std::sync::Arc;

use http::Method;
use palisade_circuit_breaker::{CircuitBreakerLayer, Keyed, Trip};
use palisade_core::{ByAuthority, ByEndpoint, Endpoint, KeyBy, key_fn};
use palisade_testkit::{ProbeHandle, ProbePlan, Recorded, RecordingObserver, probe_request};
use tower::{Layer, ServiceExt};

use crate::api::{OK, SECOND, pass, simple, watched};

fn events(observer: &RecordingObserver) -> Vec<String> {
    observer.take().into_iter().map(|recorded| recorded.event).collect()
}

fn change(from: &str, to: &str, reason: &str, generation: u32) -> String {
    format!(
        "Breaker {{ from: {from:?}, to: {to:?}, reason: {reason:?}, generation: {generation} }}"
    )
}

fn refusal(reason: &str, retry_after: &str, enforced: bool) -> String {
    format!(
        "Refused {{ kind: Open, reason: {reason:?}, retry_after: {retry_after}, enforced: {enforced} }}"
    )
}

#[tokio::test(start_paused = true)]
async fn tells_each_change_and_each_refusal() {
    let observer = Arc::new(RecordingObserver::new());
    let (api, breaker) = watched(simple().ramp_up(SECOND).observer(observer.clone()));
    api.fail().await;
    let tripped = change("closed", "open", "consecutive_failures", 1);
    assert_eq!(events(&observer), [tripped, refusal("tripped", "Some(5s)", true)]);

    pass(5 * SECOND).await;
    api.hangs();
    let probe = api.begin().await;
    api.call().await;
    api.release(200);
    assert_eq!(probe.await.unwrap(), OK);
    pass(SECOND).await;
    assert_eq!(api.call().await, OK);
    assert_eq!(
        events(&observer),
        [
            change("open", "half_open", "open_time_over", 2),
            refusal("probing", "Some(1s)", true),
            change("half_open", "ramp_up", "probes_succeeded", 3),
            change("ramp_up", "closed", "ramp_up_over", 4),
        ]
    );

    breaker.force_open();
    let _ = breaker.try_acquire();
    breaker.disable();
    breaker.reset();
    assert_eq!(
        events(&observer),
        [
            change("closed", "forced_open", "ordered", 5),
            refusal("forced", "None", true),
            change("forced_open", "disabled", "ordered", 6),
            change("disabled", "closed", "ordered", 7),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_rehearsal_tells_what_it_would_refuse() {
    let observer = Arc::new(RecordingObserver::new());
    let (api, breaker) = watched(simple().observe_only().observer(observer.clone()));
    api.answers(503);
    for _ in 0..5 {
        api.call().await;
    }
    assert_eq!(api.probe.calls(), 5);
    let would_refuse = refusal("tripped", "Some(5s)", false);
    assert_eq!(
        events(&observer),
        [change("closed", "open", "consecutive_failures", 1), would_refuse.clone(), would_refuse,]
    );

    // It finds out that the service works again, as it would have.
    pass(5 * SECOND).await;
    api.answers(200);
    assert_eq!(api.call().await, OK);
    assert_eq!(events(&observer).len(), 2);

    breaker.observe_only(false);
    assert_eq!(api.fail().await, 3);
}

#[tokio::test(start_paused = true)]
async fn tells_whose_breaker_it_is() {
    static USERS: Endpoint = Endpoint::new(Method::GET, "/users/{id}");

    async fn told(by: impl KeyBy + Send + Sync + 'static) -> Recorded {
        let observer = Arc::new(RecordingObserver::new());
        let layer = CircuitBreakerLayer::http()
            .trip(Trip::consecutive(5))
            .scope(Keyed::by(by))
            .observer(observer.clone());
        let handle = ProbeHandle::new();
        let client = layer.layer(handle.probe::<palisade_testkit::ProbeError, ()>());
        handle.set(ProbePlan { answer: palisade_testkit::Answer::Fails, ..ProbePlan::default() });
        for _ in 0..5 {
            let mut request = probe_request(1);
            *request.uri_mut() = "https://api.example/users/7".parse().unwrap();
            request.extensions_mut().insert(&USERS);
            let _ = client.clone().oneshot(request).await;
        }
        let recorded = observer.take();
        assert_eq!(recorded.len(), 1, "{recorded:?}");
        recorded.into_iter().next().unwrap()
    }

    let host = told(ByAuthority).await;
    assert_eq!((host.endpoint, host.authority), (None, Some("api.example".to_owned())));
    let endpoint = told(ByEndpoint).await;
    assert_eq!((endpoint.endpoint, endpoint.authority), (Some(&USERS), None));
    // A key may be secret.
    let secret = told(key_fn(|head: palisade_core::Head<'_>| head.uri.to_string())).await;
    assert_eq!((secret.endpoint, secret.authority), (None, None));
}

use std::time::Duration;

use http::{StatusCode, header::RETRY_AFTER};
use palisade_circuit_breaker::{Open, OpenReason, respond_fn};
use palisade_core::{ErrorKind, Refusal, find_cause};
use palisade_testkit::{Probe, ProbeBody, ProbeError, ProbeHandle, probe_request};
use tower::{Layer, Service, ServiceExt};

use crate::api::{Api, MS, SECOND, pass, simple, watched};

async fn refusal(api: &Api<ProbeBody>) -> Open {
    let error = api.client.clone().oneshot(probe_request(1)).await.unwrap_err();
    *find_cause::<Open>(&*error).expect("the breaker refuses")
}

#[tokio::test(start_paused = true)]
async fn says_why_and_for_how_long() {
    let (api, breaker) = watched(simple());
    api.fail().await;
    pass(SECOND + MS).await;
    let open = refusal(&api).await;
    assert_eq!(open.reason(), OpenReason::Tripped);
    assert_eq!(open.retry_after(), Some(3999 * MS));
    assert_eq!(open.to_string(), "circuit breaker is open");

    pass(4 * SECOND).await;
    api.hangs();
    let _probe = api.begin().await;
    pass(SECOND).await;
    let open = refusal(&api).await;
    assert_eq!(open.reason(), OpenReason::Probing);
    // The probe has 10 seconds. Who comes back only then comes back late.
    assert_eq!(open.retry_after(), Some(SECOND));
    pass(8500 * MS).await;
    assert_eq!(refusal(&api).await.retry_after(), Some(500 * MS));

    breaker.force_open();
    let open = refusal(&api).await;
    assert_eq!((open.reason(), open.retry_after()), (OpenReason::Forced, None));
}

#[tokio::test(start_paused = true)]
async fn is_known_further_out() {
    let api = Api::new(simple());
    api.fail().await;
    let error = api.client.clone().oneshot(probe_request(1)).await.unwrap_err();
    let refusal = find_cause::<Refusal>(&*error).unwrap();
    assert_eq!(refusal.kind(), ErrorKind::Open);
    assert_eq!(refusal.retry_after(), Some(5 * SECOND));
}

// The error type stays that of the inner service.
fn fails_as<E, Req>(_: &impl Service<Req, Error = E>) {}

#[tokio::test(start_paused = true)]
async fn may_be_a_response() {
    let layer = simple().on_refusal(respond_fn(|open: Open| {
        let mut response = open.response::<String>().map(|_| None);
        response.extensions_mut().insert(open.reason());
        response
    }));
    let breaker = layer.handle();
    let probe: Probe = ProbeHandle::new().probe();
    let probe = probe.map_response(|response| response.map(Some));
    let mut service = layer.layer(probe);
    fails_as::<ProbeError, _>(&service);
    breaker.force_open();
    let response = service.ready().await.unwrap().call(probe_request(1)).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.extensions().get(), Some(&OpenReason::Forced));
    assert!(!response.headers().contains_key(RETRY_AFTER), "nobody knows until when");
    breaker.reset();
    let response = service.ready().await.unwrap().call(probe_request(1)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_response_says_in_whole_seconds_when_to_come_back() {
    for (passed, seconds) in
        [(Duration::ZERO, "5"), (MS, "5"), (4 * SECOND, "1"), (5 * SECOND - MS, "1")]
    {
        let api = Api::new(simple());
        api.fail().await;
        pass(passed).await;
        let response = refusal(&api).await.response::<String>();
        assert_eq!(response.headers()[RETRY_AFTER], seconds);
    }
}

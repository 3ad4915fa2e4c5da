use http::{Response, StatusCode};
use http_body_util::BodyExt;
use palisade_circuit_breaker::{CircuitBreakerLayer, OnCancel, ResponseBody, State, Trip, Window};
use palisade_core::BoxError;
use palisade_testkit::{Answer, Pace, Payload, ProbeBody, ProbePlan, probe_request};
use tower::ServiceExt;

use crate::api::{Api, SECOND, pass, simple, watched};

async fn respond(api: &Api<ResponseBody<ProbeBody>>) -> Response<ResponseBody<ProbeBody>> {
    api.client.clone().oneshot(probe_request(1)).await.unwrap()
}

fn pays(api: &Api<ResponseBody<ProbeBody>>, payload: Payload) {
    api.probe.set(ProbePlan { payload, ..ProbePlan::default() });
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_a_failure() {
    let (api, breaker) = watched(simple().at_body_end());
    pays(&api, Payload::Fails);
    for failures in 0..3 {
        assert_eq!(breaker.snapshot().failures_in_row, failures);
        let response = respond(&api).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(breaker.snapshot().failures_in_row, failures, "it is not known yet");
        response.into_body().collect().await.unwrap_err();
    }
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn without_it_a_response_counts_by_its_head() {
    let (api, breaker) = watched(simple());
    api.probe.set(ProbePlan { payload: Payload::Fails, ..ProbePlan::default() });
    for _ in 0..9 {
        let response = api.client.clone().oneshot(probe_request(1)).await.unwrap();
        response.into_body().collect().await.unwrap_err();
    }
    assert_eq!(breaker.snapshot().failures_in_row, 0);
}

/// Counts calls one by one.
fn counting() -> CircuitBreakerLayer<palisade_core::HttpClassify> {
    simple().trip(Trip::failure_rate(1.0).window(Window::count(10)))
}

#[tokio::test(start_paused = true)]
async fn each_body_counts_once_at_its_end() {
    for payload in [Payload::Whole, Payload::Unsized] {
        let (api, breaker) = watched(counting().at_body_end());
        pays(&api, payload);
        let mut body = respond(&api).await.into_body();
        while let Some(frame) = body.frame().await {
            let frame: http_body::Frame<_> = frame.unwrap();
            assert_eq!(breaker.snapshot().calls, u64::from(frame.is_trailers()), "{payload:?}");
        }
        drop(body);
        assert_eq!((breaker.snapshot().calls, breaker.snapshot().failures), (1, 0));
    }
}

// HEAD, 204 and 304 have bodies that are known to be empty, and that nobody polls.
#[tokio::test(start_paused = true)]
async fn a_body_known_to_be_empty_has_ended() {
    let (api, breaker) = watched(counting().at_body_end());
    for (status, calls) in [(200, 1), (204, 2), (304, 3)] {
        api.probe.set(ProbePlan {
            payload: Payload::Empty,
            answer: Answer::Status(StatusCode::from_u16(status).unwrap()),
            ..ProbePlan::default()
        });
        let response = respond(&api).await;
        assert_eq!(breaker.snapshot().calls, calls, "{status}");
        drop(response);
        assert_eq!(breaker.snapshot().calls, calls, "{status}");
    }
    assert_eq!(breaker.snapshot().failures, 0);
}

#[tokio::test(start_paused = true)]
async fn a_failure_by_its_head_counts_at_once() {
    let (api, breaker) = watched(counting().at_body_end());
    api.answers(503);
    let response = respond(&api).await;
    assert_eq!((breaker.snapshot().calls, breaker.snapshot().failures), (1, 1));
    response.into_body().collect().await.unwrap();
    assert_eq!((breaker.snapshot().calls, breaker.snapshot().failures), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_body_dropped_half_way_counts_by_its_head() {
    let (api, breaker) = watched(counting().at_body_end());
    let mut body = respond(&api).await.into_body();
    assert!(body.frame().await.unwrap().is_ok());
    drop(body);
    // And one that was never polled.
    drop(respond(&api).await);
    assert_eq!((breaker.snapshot().calls, breaker.snapshot().failures), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_body_given_up_after_long_is_a_failure_if_it_is_told_so() {
    let (api, breaker) =
        watched(counting().on_cancel(OnCancel::FailureAfter(SECOND)).at_body_end());
    drop(respond(&api).await);
    assert_eq!(breaker.snapshot().failures, 0);
    let response = respond(&api).await;
    pass(SECOND).await;
    drop(response);
    assert_eq!((breaker.snapshot().calls, breaker.snapshot().failures), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_panics_is_a_failure() {
    let (api, breaker) = watched(counting().at_body_end());
    pays(&api, Payload::Panics);
    let body = respond(&api).await.into_body();
    assert!(tokio::spawn(body.collect()).await.unwrap_err().is_panic());
    assert_eq!((breaker.snapshot().calls, breaker.snapshot().failures), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_probe_lasts_to_the_end_of_its_body() {
    let (api, breaker) = watched(simple().at_body_end());
    api.recover().await;
    api.probe.set(ProbePlan { body_pace: Pace::After(1), ..ProbePlan::default() });
    let response = respond(&api).await;
    assert_eq!(breaker.state(), State::HalfOpen);
    let body = response.into_body().collect().await.map_err(BoxError::from).unwrap();
    assert!(!body.to_bytes().is_empty());
    assert_eq!(breaker.state(), State::Closed);
}

// The service has answered: what its caller makes of that is not its fault.
#[tokio::test(start_paused = true)]
async fn a_panic_of_the_caller_says_nothing() {
    let (api, breaker) = watched(simple().at_body_end());
    for _ in 0..3 {
        let response = respond(&api).await;
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _response = response;
            std::panic::resume_unwind(Box::new("a bug of the caller"));
        }));
        assert!(panic.is_err());
    }
    assert_eq!((breaker.state(), breaker.snapshot().failures_in_row), (State::Closed, 0));
}

use std::{
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

use http::{StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use palisade_core::ErrorKind;
use palisade_metrics::{Metered, Registry, Requests};
use palisade_testkit::{
    Answer, Pace, Payload, Probe, ProbeHandle, ProbePlan, Random, probe_request,
};
use tower::{Layer, Service, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);

struct Api {
    metrics: Registry,
    probe: ProbeHandle,
    client: Metered<Probe>,
}

impl Api {
    fn new(plan: ProbePlan) -> Self {
        let metrics = Registry::new();
        let probe = ProbeHandle::new();
        probe.set(plan);
        let client = metrics.attempts().layer(probe.probe());
        Self { metrics, probe, client }
    }

    fn attempts(&self) -> Requests {
        self.metrics.snapshot().attempts
    }

    /// One ended: with this status, with this kind of error.
    fn check(&self, status: Option<u16>, error: Option<ErrorKind>) {
        let attempts = self.attempts();
        assert_eq!((attempts.count(), attempts.in_flight()), (1, 0));
        let results: Vec<_> = attempts.groups.iter().flat_map(|group| &group.results).collect();
        let result = results.iter().find(|result| result.times.count() == 1).unwrap();
        assert_eq!(result.status, status);
        assert_eq!(result.error.as_deref(), error.map(ErrorKind::as_str));
    }
}

fn answers(answer: Answer) -> ProbePlan {
    ProbePlan { answer, ..ProbePlan::default() }
}

fn pays(payload: Payload) -> ProbePlan {
    ProbePlan { payload, ..ProbePlan::default() }
}

#[tokio::test(start_paused = true)]
async fn a_body_ends_it() {
    for payload in [Payload::Whole, Payload::Unsized] {
        let api = Api::new(pays(payload));
        let response = api.client.clone().oneshot(probe_request(1)).await.unwrap();
        assert_eq!((api.attempts().count(), api.attempts().in_flight()), (0, 1));
        tokio::time::advance(SECOND).await;
        response.into_body().collect().await.unwrap();
        api.check(Some(200), None);
        assert_eq!(api.attempts().received(), 8);
        let times = api.attempts().times();
        assert_eq!((times.min(), times.max()), (Some(SECOND), Some(SECOND)));
        let head = &api.attempts().groups[0].results[0].head_times;
        assert_eq!((head.count(), head.max()), (1, Some(Duration::ZERO)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_without_a_body_ends_it() {
    for status in [200, 204, 304] {
        let status = StatusCode::from_u16(status).unwrap();
        let plan = ProbePlan { payload: Payload::Empty, ..answers(Answer::Status(status)) };
        let api = Api::new(plan);
        let response = api.client.clone().oneshot(probe_request(1)).await.unwrap();
        api.check(Some(status.as_u16()), None);
        drop(response);
        api.check(Some(status.as_u16()), None);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_ends_it() {
    let api = Api::new(answers(Answer::Fails));
    api.client.clone().oneshot(probe_request(1)).await.unwrap_err();
    api.check(None, Some(ErrorKind::Other));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_keeps_its_status() {
    let api = Api::new(pays(Payload::Fails));
    let response = api.client.clone().oneshot(probe_request(1)).await.unwrap();
    response.into_body().collect().await.unwrap_err();
    api.check(Some(200), Some(ErrorKind::Body));
    assert_eq!(api.attempts().success_rate(), Some(0.0));
    assert_eq!(api.attempts().errors(ErrorKind::Body), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_was_cancelled() {
    for polls in 0..3 {
        let plan = ProbePlan { pace: Pace::Held, ..ProbePlan::default() };
        let mut api = Api::new(plan);
        let mut call = Box::pin(api.client.ready().await.unwrap().call(probe_request(1)));
        for _ in 0..polls {
            assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        assert_eq!(api.attempts().in_flight(), 1);
        drop(call);
        api.check(None, Some(ErrorKind::Cancelled));
        // It says nothing about the service.
        assert_eq!(api.attempts().success_rate(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unread_body_is_no_failure() {
    for frames in 0..2 {
        let api = Api::new(ProbePlan::default());
        let response = api.client.clone().oneshot(probe_request(1)).await.unwrap();
        let mut body = response.into_body();
        for _ in 0..frames {
            body.frame().await.unwrap().unwrap();
        }
        drop(body);
        api.check(Some(200), None);
        assert_eq!(api.attempts().success_rate(), Some(1.0));
        assert_eq!(api.attempts().groups[0].unread, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_it() {
    for answer in [Answer::PanicsInCall, Answer::PanicsInPoll] {
        let api = Api::new(answers(answer));
        let call = api.client.clone().oneshot(probe_request(1));
        assert!(tokio::spawn(call).await.unwrap_err().is_panic());
        api.check(None, Some(ErrorKind::Panic));
    }
    let api = Api::new(pays(Payload::Panics));
    let response = api.client.clone().oneshot(probe_request(1)).await.unwrap();
    assert!(tokio::spawn(response.into_body().collect()).await.unwrap_err().is_panic());
    api.check(Some(200), Some(ErrorKind::Panic));
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_polled_no_more_ends_once() {
    let mut api = Api::new(ProbePlan::default());
    let mut call = pin!(api.client.ready().await.unwrap().call(probe_request(1)));
    let response = call.as_mut().await.unwrap();
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame.unwrap();
    }
    drop(body);
    api.check(Some(200), None);
}

#[tokio::test(start_paused = true)]
async fn readiness_that_fails_is_no_request() {
    let api = Api::new(ProbePlan { ready_fails: true, ..ProbePlan::default() });
    api.client.clone().oneshot(probe_request(1)).await.unwrap_err();
    assert_eq!((api.attempts().count(), api.attempts().unready), (0, 1));
    assert_eq!(api.probe.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_ended_with_its_head_and_is_a_gauge_of_its_own() {
    for kind in ["text/event-stream", "Text/Event-Stream; charset=utf-8"] {
        let api = Api::new(ProbePlan::default());
        let inner = api.probe.probe::<palisade_testkit::ProbeError, ()>();
        let inner = inner.map_response(move |mut response| {
            response.headers_mut().insert(CONTENT_TYPE, kind.parse().unwrap());
            response
        });
        let client = api.metrics.attempts().layer(inner);
        let mut body = client.oneshot(probe_request(1)).await.unwrap().into_body();
        api.check(Some(200), None);
        assert_eq!(api.attempts().streams(), 1);
        tokio::time::advance(3600 * SECOND).await;
        body.frame().await.unwrap().unwrap();
        drop(body);
        api.check(Some(200), None);
        assert_eq!((api.attempts().streams(), api.attempts().received()), (0, 4));
        assert_eq!(api.attempts().times().max(), Some(Duration::ZERO));
    }
}

// Wherever a call is given up, it has ended once.
#[tokio::test(start_paused = true)]
async fn after_random_drops_all_gauges_are_zero_and_nobody_is_missing() {
    let mut random = Random::seeded(7);
    let api = Api::new(ProbePlan::default());
    let client = api.metrics.calls().layer(api.client.clone());
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..20_000 {
        let draw = random.number();
        api.probe.set(ProbePlan {
            pace: Pace::After((draw % 3) as u32),
            body_pace: Pace::After((draw / 3 % 2) as u32),
            payload: [Payload::Whole, Payload::Unsized, Payload::Empty, Payload::Fails]
                [(draw / 6 % 4) as usize],
            answer: [Answer::Responds, Answer::Fails][usize::from((draw / 24).is_multiple_of(8))],
            ..ProbePlan::default()
        });
        let polls = draw / 256 % 12;
        let mut call = Box::pin(async {
            let response = client.clone().oneshot(probe_request(1)).await?;
            response.into_body().collect().await
        });
        for _ in 0..polls {
            if call.as_mut().poll(&mut cx).is_ready() {
                break;
            }
        }
    }
    let snapshot = api.metrics.snapshot();
    for requests in [&snapshot.calls, &snapshot.attempts] {
        assert_eq!((requests.in_flight(), requests.streams()), (0, 0));
        // What was never polled was never called.
        assert_eq!(requests.count(), api.probe.calls());
    }
    assert!(10_000 < api.probe.calls());
    assert!(0 < snapshot.calls.errors(ErrorKind::Cancelled));
    assert!(0 < snapshot.calls.errors(ErrorKind::Body));
}

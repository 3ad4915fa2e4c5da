use std::{
    io,
    task::{Context, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Response, StatusCode, header::CONTENT_TYPE};
use http_body::Frame;
use http_body_util::BodyExt;
use palisade_core::ErrorKind;
use palisade_metrics::Registry;
use palisade_testkit::{Answer, Pace, Payload, ProbePlan, Random, probe_request};
use tower::{Layer, Service, ServiceExt};

use crate::support::{
    Api, Frames, SECOND, answers, answers_with, broken, data, pays, request, trailers,
};

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

/// Reads so many frames of a body, drops it, and says how it ended: bytes, unread, error.
async fn reads(body: impl Fn() -> Frames + Clone, frames: usize) -> (u64, u64, Option<String>) {
    let metrics = Registry::new();
    let client =
        metrics.attempts().layer(answers_with(move || io::Result::Ok(Response::new(body()))));
    let mut body = Box::pin(client.oneshot(request("GET", "/")).await.unwrap().into_body());
    for _ in 0..frames {
        let _ = body.frame().await;
    }
    drop(body);
    let attempts = metrics.snapshot().attempts;
    assert_eq!((attempts.count(), attempts.in_flight(), attempts.status(200)), (1, 0, 1));
    let ended = attempts.groups[0].results.iter().find(|result| result.times.count() == 1);
    (attempts.received(), attempts.groups[0].unread, ended.unwrap().error.clone())
}

#[tokio::test(start_paused = true)]
async fn a_body_ends_with_its_last_frame_if_that_is_known_to_be_the_last() {
    let two = || Frames::new([data("one"), data("two!")]);
    let trailing = || Frames::new([data("one"), trailers()]);
    for (bytes, unread, found) in [
        // Of exactly known length, without the poll that says there is no more.
        (7, 0, reads(move || two().sized(), 2).await),
        (3, 1, reads(move || two().sized(), 1).await),
        // Not known: only the end tells.
        (7, 1, reads(two, 2).await),
        (7, 0, reads(two, 3).await),
        // Polled on after the end.
        (7, 0, reads(two, 5).await),
        // Nothing comes after the trailers.
        (3, 0, reads(trailing, 2).await),
        (0, 0, reads(|| Frames::new([trailers()]), 1).await),
        (0, 1, reads(|| Frames::new([trailers()]), 0).await),
        // Frames without bytes.
        (3, 0, reads(|| Frames::new(["", "one", ""].map(data)), 4).await),
        (0, 1, reads(|| Frames::new([data("")]), 1).await),
        (0, 0, reads(|| Frames::new([]), 1).await),
        (0, 0, reads(|| Frames::new([]).sized(), 0).await),
    ] {
        assert_eq!(found, (bytes, unread, None));
    }
}

// As around a layer that decompresses.
#[tokio::test(start_paused = true)]
async fn bytes_are_those_that_pass_the_layer() {
    let metrics = Registry::new();
    let wire = || io::Result::Ok(Response::new(Frames::new([data("one"), data("two!")]).sized()));
    let inner = metrics.attempts().layer(answers_with(wire));
    let inflating = inner.map_response(|response| {
        response.map(|body| {
            let twice = |data: Bytes| Bytes::from([data.clone(), data].concat());
            body.map_frame(move |frame: Frame<Bytes>| frame.map_data(twice))
        })
    });
    let response = metrics.calls().layer(inflating).oneshot(request("GET", "/")).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 14);
    let snapshot = metrics.snapshot();
    assert_eq!((snapshot.attempts.received(), snapshot.calls.received()), (7, 14));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_ends_with_its_error() {
    let fails = || Frames::new([data("one"), broken(), data("two!"), broken()]);
    let body = Some("body".to_owned());
    assert_eq!(reads(fails, 2).await, (3, 0, body.clone()));
    // Who polls on gets what there is, and it is not counted.
    assert_eq!(reads(fails, 5).await, (3, 0, body.clone()));
    assert_eq!(reads(|| Frames::new([broken()]), 1).await, (0, 0, body));
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
async fn a_response_that_is_polled_no_more_ends_once() {
    let mut api = Api::new(ProbePlan::default());
    let mut call = Box::pin(api.client.ready().await.unwrap().call(probe_request(1)));
    let response = call.as_mut().await.unwrap();
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame.unwrap();
    }
    drop(body);
    api.check(Some(200), None);
    drop(call);
    api.check(Some(200), None);
}

#[tokio::test(start_paused = true)]
async fn readiness_without_a_call_is_nothing() {
    let mut api = Api::new(ProbePlan::default());
    api.client.ready().await.unwrap();
    let Api { metrics, client, .. } = api;
    drop(client);
    assert_eq!(metrics.snapshot(), Registry::new().snapshot());
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

// In the interval in which a stream ends, nothing else of it may have happened.
#[tokio::test(start_paused = true)]
async fn the_last_bytes_of_a_stream_are_of_the_interval_in_which_they_come() {
    let events = || {
        let response = Response::builder().header(CONTENT_TYPE, "text/event-stream");
        Ok::<_, io::Error>(response.body(Frames::new([data("one"), data("two!")])).unwrap())
    };
    let metrics = Registry::new();
    let mut window = metrics.window();
    let client = metrics.attempts().layer(answers_with(events));
    let mut body = Box::pin(client.oneshot(request("GET", "/")).await.unwrap().into_body());
    body.frame().await.unwrap().unwrap();
    let first = window.tick().attempts;
    assert_eq!((first.count(), first.streams(), first.received()), (1, 1, 3));
    body.frame().await.unwrap().unwrap();
    drop(body);
    let last = window.tick().attempts;
    assert_eq!((last.count(), last.streams(), last.received()), (0, 0, 4));
    assert_eq!(window.tick().attempts.groups, []);
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

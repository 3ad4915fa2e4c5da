//! What other crates count wrongly, by the name and version that it was seen in: each was reproduced
//! there before it became a test here.
//!
//! Of HTTP/2 as version `2.0` (tower-otel-http-metrics 0.16) nothing can be wrong here: the version
//! is no label.

use std::{
    io,
    task::{Context, Waker},
    time::Duration,
};

use http::{Method, Response};
use http_body_util::BodyExt;
use palisade_core::{Endpoint, ErrorKind};
use palisade_metrics::{Format, Registry, Routes};
use palisade_testkit::{Answer, Pace, Payload, ProbeError, ProbePlan, probe_request};
use tower::{Layer, Service, ServiceExt};

use crate::support::{Api, Frames, answers, answers_with, data, pays, request};

static GET_USER: Endpoint = Endpoint::new(Method::GET, "/users/{id}");

/// axum-prometheus 0.10.1 adds to its histogram of sizes what has come so far, with each chunk: five
/// chunks of ten bytes are five responses and 150 bytes there.
#[tokio::test(start_paused = true)]
async fn a_body_in_chunks_is_one_body() {
    let metrics = Registry::new();
    let chunks = || Frames::new((0..5).map(|_| data("0123456789")));
    let api = answers_with(move || Ok::<_, io::Error>(Response::new(chunks())));
    let client = metrics.attempts().layer(api);
    let response = client.oneshot(request("GET", "http://api.example/")).await.unwrap();
    response.into_body().collect().await.unwrap();
    let attempts = metrics.snapshot().attempts;
    assert_eq!((attempts.count(), attempts.received()), (1, 50));
    let text = metrics.snapshot().render(Format::Prometheus);
    assert!(text.contains("palisade_response_body_bytes_total{http_request_method=\"GET\",server_address=\"api.example\",server_port=\"80\"} 50\n"), "{text}");
}

/// axum-prometheus 0.10.1 takes the path for a label where no route matches: there, a scanner's
/// 16,000 paths were 179,000 series (fogo-sessions#618).
#[tokio::test(start_paused = true)]
async fn paths_that_match_no_route_are_one_series() {
    let api = Api::new(ProbePlan::default());
    let probe = api.probe.probe::<ProbeError, ()>();
    let client = api.metrics.attempts().endpoints(Routes::new([&GET_USER])).layer(probe);
    for number in 0..1000 {
        let uri = format!("http://api.example/{number}/wp-login.php?{number}");
        let response = client.clone().oneshot(request("GET", &uri)).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    let attempts = api.attempts();
    assert_eq!((attempts.count(), attempts.groups.len()), (1000, 1));
    assert_eq!(attempts.groups[0].endpoint, None);
    assert!(!api.metrics.snapshot().render(Format::Prometheus).contains("wp-login"));
}

/// axum-prometheus 0.10.1 never counts what is cancelled. tower-otel-http-metrics 0.16 and
/// opentelemetry-instrumentation-tower 0.19 leave it in flight for ever.
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

/// tower-otel-http-metrics 0.16 leaves it in flight for ever, axum-prometheus 0.10.1 never counts it,
/// and opentelemetry-instrumentation-tower 0.19 counts it without a word of what went wrong.
#[tokio::test(start_paused = true)]
async fn an_error_is_counted_by_its_kind() {
    let api = Api::new(answers(Answer::Fails));
    api.client.clone().oneshot(probe_request(1)).await.unwrap_err();
    api.check(None, Some(ErrorKind::Other));
    let text = api.metrics.snapshot().render(Format::Prometheus);
    let count = "http_client_request_duration_seconds_count{";
    let line = text.lines().find(|line| line.starts_with(count)).unwrap();
    assert!(line.ends_with("error_type=\"other\"} 1"), "{line}");
    assert!(text.contains("http_client_active_requests{http_request_method=\"GET\",server_address=\"probe.test\",server_port=\"80\"} 0"), "{text}");
}

/// tower-otel 0.12 and reqwest-metrics 0.3 take the message for the type of an error, so that each
/// port and each address in it is a series. tower-http-opentelemetry 0.0.6 takes the name of its type.
#[tokio::test(start_paused = true)]
async fn errors_with_different_messages_are_one_series() {
    let metrics = Registry::new();
    for port in [1, 2, 3] {
        let refused = move || {
            io::Error::new(io::ErrorKind::ConnectionRefused, format!("127.0.0.1:{port} refused"))
        };
        let client = metrics.attempts().layer(answers_with(move || Err(refused())));
        assert!(client.oneshot(request("GET", "http://api.example/")).await.is_err());
    }
    let attempts = metrics.snapshot().attempts;
    assert_eq!((attempts.groups.len(), attempts.groups[0].results.len()), (1, 1));
    assert_eq!((attempts.count(), attempts.errors(ErrorKind::Connect)), (3, 3));
    assert!(!metrics.snapshot().render(Format::OpenMetrics).contains("refused\""));
}

/// tower-http-opentelemetry 0.0.6 counts it as a success.
#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_keeps_its_status() {
    let api = Api::new(pays(Payload::Fails));
    let response = api.client.clone().oneshot(probe_request(1)).await.unwrap();
    response.into_body().collect().await.unwrap_err();
    api.check(Some(200), Some(ErrorKind::Body));
    assert_eq!(api.attempts().success_rate(), Some(0.0));
    assert_eq!(api.attempts().errors(ErrorKind::Body), 1);
}

/// tower-http-opentelemetry 0.0.6 counts it as a failure.
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

/// reqwest-metrics 0.3 cuts times off at the millisecond.
#[tokio::test(start_paused = true)]
async fn times_below_a_millisecond_are_times() {
    let api = Api::new(pays(Payload::Whole));
    for _ in 0..10 {
        let response = api.client.clone().oneshot(probe_request(1)).await.unwrap();
        tokio::time::advance(Duration::from_micros(300)).await;
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(api.attempts().times().sum(), Duration::from_millis(3));
}

/// tower-http-opentelemetry 0.0.6 leaves out a port that is that of the scheme, which the conventions
/// require.
#[tokio::test(start_paused = true)]
async fn a_port_that_is_not_written_is_that_of_the_scheme() {
    for (target, port) in [
        ("http://api.example/", "80"),
        ("https://api.example/", "443"),
        ("https://api.example:8443/", "8443"),
        ("https://[::1]/", "443"),
    ] {
        let metrics = Registry::new();
        let client = metrics
            .attempts()
            .layer(answers_with(|| Ok::<_, io::Error>(Response::new(Frames::new([])))));
        client.oneshot(request("GET", target)).await.unwrap();
        let snapshot = metrics.snapshot();
        assert_eq!(snapshot.attempts.groups[0].port, port.parse().ok(), "{target}");
        let text = snapshot.render(Format::Prometheus);
        assert!(text.contains(&format!("server_port=\"{port}\"")), "{target}: {text}");
    }
}

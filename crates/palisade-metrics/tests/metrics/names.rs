//! Series have names of their own: what differs elsewhere alone is one, and what differs is told.

use std::collections::BTreeSet;

use http::{HeaderValue, Method, header::HOST};
use http_body_util::BodyExt;
use palisade_core::{Endpoint, Target};
use palisade_metrics::{Format, Registry, Snapshot};
use palisade_testkit::{ProbeError, ProbePlan};
use tower::{Layer, ServiceExt};

use crate::{
    support::{Api, Call, request},
    text::{read, tell},
};

static GET_USER: Endpoint = Endpoint::new(Method::GET, "/users/{id}");
static GET_USER_AGAIN: Endpoint = Endpoint::new(Method::GET, "/users/{id}");
static PUT_USER: Endpoint = Endpoint::new(Method::PUT, "/users/{id}");

fn of(endpoint: &'static Endpoint, mut request: Call) -> Call {
    endpoint.put_into(request.extensions_mut());
    request
}

/// Calls with each of these, and returns what was counted, of which no series is there twice.
async fn counted(metrics: Registry, requests: impl IntoIterator<Item = Call>) -> Snapshot {
    let api = Api::new(ProbePlan::default());
    let client = metrics.attempts().layer(api.probe.probe::<ProbeError, ()>());
    let mut window = metrics.window();
    let mut calls = 0;
    for request in requests {
        let response = client.clone().oneshot(request).await.unwrap();
        response.into_body().collect().await.unwrap();
        calls += 1;
        assert_eq!(window.tick().attempts.count(), 1);
    }
    let snapshot = metrics.snapshot();
    assert_eq!(snapshot.attempts.count(), calls);
    read(&snapshot.render(Format::Prometheus), false);
    read(&snapshot.render(Format::OpenMetrics), true);
    snapshot
}

#[tokio::test(start_paused = true)]
async fn two_statics_that_say_the_same_are_one_endpoint() {
    let requests = [&GET_USER, &GET_USER_AGAIN].map(|endpoint| of(endpoint, request("GET", "/")));
    let snapshot = counted(Registry::new(), requests).await;
    assert_eq!(snapshot.attempts.groups.len(), 1);
    assert_eq!(snapshot.attempts.endpoint("GET", "/users/{id}").count(), 2);
}

// After a redirect, a request may have another method than its endpoint.
#[tokio::test(start_paused = true)]
async fn endpoints_of_one_template_are_one_where_the_method_is_one() {
    let requests = [&GET_USER, &PUT_USER].map(|endpoint| of(endpoint, request("GET", "/")));
    let snapshot = counted(Registry::new(), requests).await;
    assert_eq!(snapshot.attempts.groups.len(), 1);
    assert_eq!(snapshot.attempts.groups[0].results.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_has_no_room_is_one_series_however_it_came_there() {
    let tight = Registry::new().max_endpoints(0).max_authorities(0).max_groups(1);
    let odd = || of(&GET_USER, request("BREW", "http://one.example/"));
    let requests = [odd(), request("GET", "/"), odd(), request("PUT", "http://two.example/")];
    let snapshot = counted(tight, requests).await;
    assert_eq!(snapshot.attempts.groups.len(), 1);
    assert_eq!((snapshot.folded.groups, snapshot.folded.endpoints), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn who_is_called_other_is_other() {
    let mut named = request("GET", "/");
    named.headers_mut().insert(HOST, HeaderValue::from_static("_OTHER"));
    let requests = [named, request("GET", "http://one.example/")];
    let requests = requests.into_iter().chain([request("GET", "http://two.example/")]);
    let snapshot = counted(Registry::new().max_authorities(1), requests).await;
    let names: Vec<_> =
        snapshot.attempts.groups.iter().map(|group| group.authority.as_deref()).collect();
    assert_eq!(names, [Some("_OTHER")]);
}

#[test]
fn events_and_breakers_of_endpoints_are_told_apart_by_method() {
    let metrics = Registry::new();
    for endpoint in [&GET_USER, &PUT_USER] {
        tell(&*metrics.observer(), Target::new(Some(endpoint), None, Some("api.example")));
    }
    tell(&*metrics.observer(), Target::new(None, Some(&Method::GET), Some("api.example")));
    let text = metrics.snapshot().render(Format::Prometheus);
    let samples = read(&text, false);
    for family in ["palisade_retries_total", "palisade_breaker_state"] {
        let of_get = |series: &&String| {
            series.starts_with(family) && series.contains("http_request_method=\"GET\"")
        };
        let series: BTreeSet<_> = samples.keys().filter(of_get).collect();
        assert!(!series.is_empty(), "{family} in\n{text}");
        assert!(series.iter().all(|series| series.contains("/users/{id}")), "{series:?}");
    }
    assert_eq!(metrics.snapshot().breakers.len(), 3);
}

#[test]
fn a_window_tells_events_apart_by_method() {
    let metrics = Registry::new();
    let observer = metrics.observer();
    let put = Target::new(Some(&PUT_USER), None, Some("api.example"));
    for _ in 0..10 {
        tell(&*observer, Target::new(Some(&GET_USER), None, Some("api.example")));
    }
    tell(&*observer, put);
    let mut window = metrics.window();
    tell(&*observer, put);
    let events = window.tick().events;
    assert!(!events.is_empty());
    assert!(events.iter().all(|event| event.method.as_deref() == Some("PUT")), "{events:?}");
}

// Neither a tab nor a Latin-1 letter is forbidden in a field (RFC 9110, section 5.5).
#[tokio::test(start_paused = true)]
async fn whatever_a_host_is_called_is_text() {
    let hosts = [&b"\xe4pi.example"[..], b"a\"b\\c\td", b"", b":", b":80", b"[::1]", b"[::1]:80"];
    let requests = hosts.map(|host| {
        let mut request = request("GET", "/");
        request.headers_mut().insert(HOST, HeaderValue::from_bytes(host).unwrap());
        request
    });
    let snapshot = counted(Registry::new(), requests).await;
    let text = snapshot.render(Format::Prometheus);
    for labels in [
        r#"{http_request_method="GET"}"#,
        r#"{http_request_method="GET",server_address="[::1]"}"#,
        r#"{http_request_method="GET",server_address="[::1]",server_port="80"}"#,
    ] {
        let line = format!("http_client_active_requests{labels} 0");
        assert!(text.lines().any(|there| there == line), "{line} in\n{text}");
    }
}

// Both ends of a request find the same gauge, whatever it comes to.
#[tokio::test(start_paused = true)]
async fn a_gauge_has_the_same_labels_at_both_ends() {
    let api = Api::new(ProbePlan::default());
    let request = of(&GET_USER, request("GET", "http://api.example:81/users/1"));
    let gauges = || {
        let text = api.metrics.snapshot().render(Format::Prometheus);
        let gauges = text.lines().filter(|line| line.starts_with("http_client_active_requests{"));
        gauges.map(str::to_owned).collect::<Vec<_>>()
    };
    let response = api.client.clone().oneshot(request).await.unwrap();
    let during = gauges();
    drop(response);
    let labels = r#"{http_request_method="GET",server_address="api.example",server_port="81",url_template="/users/{id}"}"#;
    assert_eq!(during, [format!("http_client_active_requests{labels} 1")]);
    assert_eq!(gauges(), [format!("http_client_active_requests{labels} 0")]);
}

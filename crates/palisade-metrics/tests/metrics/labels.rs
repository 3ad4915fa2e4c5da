use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use palisade_core::Endpoint;
use palisade_metrics::{Registry, Requests, Routes};
use palisade_testkit::{Answer, ProbeError, ProbeHandle, ProbePlan, ProbeRequest};
use tower::{Layer, Service, ServiceExt};

static GET_USER: Endpoint = Endpoint::new(Method::GET, "/users/{id}");
static PUT_USER: Endpoint = Endpoint::new(Method::PUT, "/users/{id}");

fn request(method: &str, uri: &str) -> ProbeRequest {
    Request::builder().method(method).uri(uri).body(Full::default()).unwrap()
}

async fn call<S, B>(service: S, request: ProbeRequest)
where
    S: Service<ProbeRequest, Response = http::Response<B>, Error = ProbeError>,
    B: http_body::Body<Error: std::fmt::Debug>,
{
    service.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_names_stays_within_its_bounds() {
    let metrics = Registry::new().max_authorities(10).max_groups(30);
    let probe = ProbeHandle::new();
    let client = metrics.attempts().layer(probe.probe::<ProbeError, ()>());
    for number in 0..10_000 {
        let method = format!("METHOD{}", number % 100);
        let method = if number % 2 == 0 { "GET" } else { &method };
        let uri = format!("https://host-{number}.example/users/{number}");
        call(client.clone(), request(method, &uri)).await;
    }
    let snapshot = metrics.snapshot();
    assert_eq!(snapshot.attempts.count(), 10_000, "each is counted");
    assert_eq!(snapshot.attempts.in_flight(), 0);
    assert!(snapshot.attempts.groups.len() <= 31, "{}", snapshot.attempts.groups.len());
    assert_eq!(snapshot.folded.authorities, 9_990);
    assert_eq!(snapshot.folded.methods, 5_000);
    let paths = snapshot.attempts.groups.iter().filter(|group| group.endpoint.is_some());
    assert_eq!(paths.count(), 0, "a path is never a label");
}

#[tokio::test(start_paused = true)]
async fn endpoints_are_found_by_template() {
    let metrics = Registry::new();
    let probe = ProbeHandle::new();
    let routes = Routes::new([&GET_USER, &PUT_USER]);
    let client = metrics.attempts().endpoints(routes).layer(probe.probe::<ProbeError, ()>());
    for (method, uri) in [
        ("GET", "https://api.example/users/1"),
        ("GET", "https://api.example/users/2"),
        ("PUT", "https://api.example/users/2"),
        ("DELETE", "https://api.example/users/2"),
        ("GET", "https://api.example/nowhere"),
    ] {
        call(client.clone(), request(method, uri)).await;
    }
    let attempts = metrics.snapshot().attempts;
    assert_eq!(attempts.endpoint("GET", "/users/{id}").count(), 2);
    assert_eq!(attempts.endpoint("PUT", "/users/{id}").count(), 1);
    assert_eq!(attempts.count(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_may_be_the_same_for_all() {
    let metrics = Registry::new();
    let probe = ProbeHandle::new();
    let client = metrics.calls().endpoints(&GET_USER).layer(probe.probe::<ProbeError, ()>());
    call(client, request("GET", "https://api.example/users/7")).await;
    assert_eq!(metrics.snapshot().calls.endpoint("GET", "/users/{id}").count(), 1);
    assert_eq!(metrics.snapshot().attempts, Requests::default());
}

#[tokio::test(start_paused = true)]
async fn intervals_are_told_apart_by_each_reader_for_itself() {
    let metrics = Registry::new();
    let probe = ProbeHandle::new();
    let client = metrics.attempts().layer(probe.probe::<ProbeError, ()>());
    let (mut often, mut seldom) = (metrics.window(), metrics.window());
    for calls in [3, 0, 2] {
        for _ in 0..calls {
            call(client.clone(), request("GET", "https://api.example/")).await;
        }
        let interval = often.tick().attempts;
        assert_eq!((interval.count(), interval.received()), (calls, calls * 8));
        assert_eq!(interval.outcomes().of("success"), calls);
        assert_eq!(interval.times().count(), calls);
    }
    assert_eq!(seldom.tick().attempts.count(), 5);
    assert_eq!(metrics.snapshot().attempts.count(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_statuses_is_counted_to_the_last() {
    let metrics = Registry::new();
    let probe = ProbeHandle::new();
    let client = metrics.attempts().layer(probe.probe::<ProbeError, ()>());
    for status in 200..1000 {
        let answer = Answer::Status(StatusCode::from_u16(status).unwrap());
        probe.set(ProbePlan { answer, ..ProbePlan::default() });
        call(client.clone(), request("GET", "https://api.example/")).await;
    }
    let attempts = metrics.snapshot().attempts;
    assert_eq!((attempts.count(), attempts.in_flight()), (800, 0));
    let outcomes = attempts.outcomes();
    assert_eq!(outcomes.iter().map(|(_, count)| count).sum::<u64>(), 800);
    assert_eq!((outcomes.of("success"), outcomes.of("throttled")), (200, 1));
    assert!(attempts.groups[0].results.len() <= 65);
}

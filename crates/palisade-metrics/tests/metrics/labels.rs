use std::{
    collections::BTreeSet,
    future::{pending, ready},
    io,
    pin::pin,
    task::{Context, Poll, Waker},
};

use http::{Method, Request, Response, StatusCode, header::CONTENT_LENGTH};
use http_body::Body;
use http_body_util::BodyExt;
use palisade_core::Endpoint;
use palisade_metrics::{Registry, Requests, Routes, Snapshot};
use palisade_testkit::{Answer, ProbeError, ProbeHandle, ProbePlan, ProbeRequest, Random};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Frames, answers_with, data, request};

const OTHER: &str = "_OTHER";

static GET_USER: Endpoint = Endpoint::new(Method::GET, "/users/{id}");
static PUT_USER: Endpoint = Endpoint::new(Method::PUT, "/users/{id}");

async fn call<S, B>(service: S, request: ProbeRequest)
where
    S: Service<ProbeRequest, Response = Response<B>, Error = ProbeError>,
    B: Body<Error: std::fmt::Debug>,
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

/// What there is room for, and how much was folded.
#[derive(Default)]
struct Room {
    endpoints: BTreeSet<&'static str>,
    authorities: BTreeSet<String>,
    groups: BTreeSet<(&'static str, String, String)>,
    folded: [u64; 4],
}

impl Room {
    fn take(&mut self, endpoint: &'static str, method: &str, authority: &str) {
        let room = self.endpoints.len() < 50 && self.endpoints.insert(endpoint);
        let endpoint = if room || self.endpoints.contains(endpoint) { endpoint } else { OTHER };
        let known = self.authorities.contains(authority);
        let room = known || self.authorities.len() < 20;
        let authority = if room { authority } else { OTHER };
        if room && !known {
            self.authorities.insert(authority.to_owned());
        }
        let method = if method.starts_with('M') { OTHER } else { method };
        let group = (endpoint, method.to_owned(), authority.to_owned());
        let whole = !self.groups.contains(&group) && self.groups.len() == 200;
        if !whole {
            self.groups.insert(group);
        }
        let others = [endpoint, method, authority].map(|label| label == OTHER);
        for (count, folds) in self.folded.iter_mut().zip(others.into_iter().chain([whole])) {
            *count += u64::from(folds);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_folded_is_counted_exactly() {
    let metrics = Registry::new().max_endpoints(50).max_authorities(20).max_groups(200);
    let probe = ProbeHandle::new();
    let client = metrics.attempts().layer(probe.probe::<ProbeError, ()>());
    let mut random = Random::seeded(3);
    let endpoints: Vec<&'static Endpoint> = (0..10_000)
        .map(|number| {
            let template = Box::leak(format!("/{number}/{{id}}").into_boxed_str());
            &*Box::leak(Box::new(Endpoint::new(Method::GET, template)))
        })
        .collect();
    let mut room = Room::default();
    for _ in 0..10_000 {
        // Some come often, and some once.
        let mut draw = |of: u64| (random.number() % of).min(random.number() % of) as usize;
        let endpoint = endpoints[[draw(60), draw(10_000)][draw(2)]];
        let method = ["GET", "PUT", "MELT", "MOULD"][draw(4)];
        let authority = format!("host-{}.example", [draw(25), draw(10_000)][draw(2)]);
        let mut request = request(method, &format!("http://{authority}/{}", draw(10_000)));
        endpoint.put_into(request.extensions_mut());
        room.take(endpoint.template(), method, &authority);
        call(client.clone(), request).await;
    }
    let Snapshot { attempts, folded, .. } = metrics.snapshot();
    assert_eq!((attempts.count(), attempts.in_flight()), (10_000, 0));
    assert_eq!(attempts.received(), 80_000);
    assert_eq!([folded.endpoints, folded.methods, folded.authorities, folded.groups], room.folded);
    assert!(room.folded.iter().all(|count| 100 < *count), "{:?}", room.folded);
    assert!(attempts.groups.len() <= 201, "{}", attempts.groups.len());
    for (label, most) in [
        (BTreeSet::from_iter(attempts.groups.iter().map(|group| &group.endpoint)), 51),
        (BTreeSet::from_iter(attempts.groups.iter().map(|group| &group.authority)), 21),
    ] {
        assert_eq!(label.len(), most);
    }
}

#[tokio::test(start_paused = true)]
async fn registries_count_for_themselves() {
    let probe = ProbeHandle::new();
    let (outer, inner, idle) =
        (Registry::new(), Registry::new().max_authorities(0), Registry::new());
    let client = inner.attempts().layer(probe.probe::<ProbeError, ()>());
    let client = outer.attempts().layer(client);
    for _ in 0..3 {
        call(client.clone(), request("GET", "http://api.example/")).await;
    }
    let authority = |registry: &Registry| registry.snapshot().attempts.groups[0].authority.clone();
    assert_eq!(authority(&outer).as_deref(), Some("api.example"));
    assert_eq!(authority(&inner).as_deref(), Some(OTHER));
    for (registry, count) in [(&outer, 3), (&inner, 3), (&idle, 0)] {
        assert_eq!(registry.snapshot().attempts.count(), count);
    }
    // A setter makes another one.
    assert_eq!(outer.clone().max_groups(5).snapshot().attempts.count(), 0);
}

/// Drops a registry while a body is read, one is not, and a call goes on.
fn outlive() {
    let metrics = Registry::new();
    let pending = service_fn(|_: ProbeRequest| pending::<io::Result<Response<Frames>>>());
    let waiting = metrics.calls().layer(pending).call(request("GET", "http://api.example/"));
    let body = || Frames::new([data("one"), data("two!")]);
    let client =
        metrics.attempts().layer(answers_with(move || Ok::<_, io::Error>(Response::new(body()))));
    let mut cx = Context::from_waker(Waker::noop());
    let [mut read, unread] = [(); 2].map(|()| {
        let call = client.clone().call(request("GET", "http://api.example/"));
        let Poll::Ready(Ok(response)) = pin!(call).poll(&mut cx) else { unreachable!() };
        Box::pin(response.into_body())
    });
    drop((metrics, client));
    let mut bytes = 0;
    while let Poll::Ready(Some(frame)) = read.as_mut().poll_frame(&mut cx) {
        bytes += frame.unwrap().data_ref().map_or(0, |data| data.len());
    }
    assert_eq!(bytes, 7);
    drop((read, unread, waiting));
}

#[tokio::test(start_paused = true)]
async fn bodies_outlive_their_registry_and_take_it_with_them() {
    // What lasts as long as the thread.
    outlive();
    let left = allocation_counter::measure(outlive);
    assert_eq!((left.count_current, left.bytes_current), (0, 0), "{left:?}");
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

#[test]
fn room_without_end_is_the_most_there_may_be() {
    let most = usize::MAX;
    let metrics = Registry::new().max_endpoints(most).max_authorities(most).max_groups(most);
    assert_eq!(metrics.snapshot(), Registry::new().snapshot());
}

// On a server, whoever calls says what it likes.
#[tokio::test(start_paused = true)]
async fn nobody_believes_a_length_that_cannot_be() {
    let metrics = Registry::new();
    let accept = |_: Request<Frames>| ready(io::Result::Ok(Response::new(Frames::new([]).sized())));
    let server = metrics.calls().layer(service_fn(accept));
    for length in ["18446744073709551615", "18446744073709551614", "5", "junk", "-1"] {
        let request =
            Request::put("/").header(CONTENT_LENGTH, length).body(Frames::new([])).unwrap();
        server.clone().oneshot(request).await.unwrap();
    }
    let calls = metrics.snapshot().calls;
    assert_eq!((calls.count(), calls.sent()), (5, 5));
}

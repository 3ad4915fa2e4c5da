//! The circuit breaker over hyper-util's client.

use std::{
    fmt::Debug,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{HttpConnector, dns::Name},
    },
    rt::TokioExecutor,
};
use palisade_circuit_breaker::{CircuitBreakerLayer, OnCancel, OpenReason, State, Trip};
use palisade_core::{BoxError, ByAuthority, Observer};
use palisade_testkit::{
    FaultServer, FlakyApi, Plan, RecordingObserver, Reply, Script, Steps, refused_addr,
};
use tokio::{task::JoinSet, time::advance};
use tower::{Layer, Service, ServiceExt, service_fn, timeout::TimeoutLayer};

use crate::support::{MS, OPEN_FOR, breaker, get, http1, http2, put, read, refusal};

type Http = Client<HttpConnector, Full<Bytes>>;

/// Whether the server is down now.
#[derive(Clone)]
struct Outage(Arc<AtomicBool>);

impl Outage {
    fn begin() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    fn end(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// One thing while it lasts, another when it is over.
    fn pick<T>(&self, during: T, after: T) -> T {
        match self.0.load(Ordering::Relaxed) {
            true => during,
            false => after,
        }
    }

    /// A server that answers so while it lasts.
    async fn api(&self, during: Reply) -> FlakyApi {
        let outage = self.clone();
        let plan = Plan::with(move |_| outage.pick(during.clone(), Reply::ok("hello")));
        FlakyApi::start(Script::new().route("/", plan)).await
    }

    /// A server that treats connections so while it lasts.
    async fn server(&self, during: Steps) -> FaultServer {
        let outage = self.clone();
        FaultServer::start(move |_| outage.pick(during.clone(), Steps::ok("hello"))).await
    }
}

/// Opens a breaker around the client by an outage, and closes it after that. `seen` says how often
/// the server was called.
// A call that is refused waits for nothing, so paused time stands but for what is advanced. It may
// jump in the others, by what a server waits for a client to close, but no further.
async fn check<F>(name: &str, client: Http, uri: Uri, outage: &Outage, seen: F)
where
    F: Fn() -> u64,
{
    let layer = breaker();
    let handle = layer.handle();
    let client = layer.layer(client);
    let call = || client.clone().oneshot(put(uri.clone()));
    let refused = async || {
        let open = refusal(call().await).expect(name);
        assert_eq!(open.reason(), OpenReason::Tripped, "{name}");
        open.retry_after()
    };

    for failures in 1..=3 {
        assert_eq!(handle.state(), State::Closed, "{name}");
        let result = call().await;
        let answered = result.as_ref().is_ok_and(|response| response.status().is_success());
        assert!(!answered, "{name}");
        assert_eq!(refusal(result), None, "{name}: failure {failures} was made by the server");
    }
    let calls = seen();
    assert_eq!(handle.state(), State::Open, "{name}");
    assert_eq!(refused().await, Some(OPEN_FOR), "{name}");
    advance(OPEN_FOR - MS).await;
    assert_eq!(refused().await, Some(MS), "{name}");
    assert_eq!(seen(), calls, "{name}: nothing was sent");

    // The outage outlasts the first probe.
    advance(MS).await;
    assert_eq!(refusal(call().await), None, "{name}");
    assert_eq!(handle.state(), State::Open, "{name}");
    assert_eq!(refused().await, Some(OPEN_FOR), "{name}");

    outage.end();
    advance(OPEN_FOR).await;
    for state in [State::HalfOpen, State::Closed] {
        let response = call().await.expect(name);
        assert_eq!(read(response).await.expect(name), "hello");
        assert_eq!(handle.state(), state, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn failing_answers_open_it() {
    for status in [408, 500, 501, 502, 503, 504] {
        for client in [http1(), http2()] {
            let outage = Outage::begin();
            let api = outage.api(Reply::status(status)).await;
            let seen = || api.stats().requests();
            check(&status.to_string(), client, api.url("/"), &outage, seen).await;
            assert_eq!(seen(), 3 + 1 + 2);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_opens_it() {
    for (name, client) in [("HTTP/1.1", http1()), ("HTTP/2", http2())] {
        let outage = Outage::begin();
        let api = outage.api(Reply::reset()).await;
        let seen = || api.stats().requests();
        check(name, client, api.url("/"), &outage, seen).await;
        assert_eq!(seen(), 3 + 1 + 2);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_answer_opens_it() {
    for (name, during) in [
        ("closed", Steps::new()),
        ("closed after the head", Steps::new().read_head()),
        ("reset in the head", Steps::reset_in_head()),
        ("half a head", Steps::half_head()),
        ("garbage", Steps::garbage()),
        ("endless head", Steps::endless_headers()),
    ] {
        let outage = Outage::begin();
        let server = outage.server(during).await;
        let seen = || server.stats().connections();
        check(name, http1(), server.url("/"), &outage, seen).await;
        assert_eq!(seen(), 3 + 1 + 2, "{name}");
    }
    for (name, during) in
        [("GOAWAY", Steps::h2_go_away()), ("REFUSED_STREAM", Steps::h2_refused_stream())]
    {
        let server = FaultServer::start(move |_| during.clone()).await;
        let layer = breaker();
        let client = layer.layer(http2());
        for _ in 0..3 {
            assert!(client.clone().oneshot(get(server.url("/"))).await.is_err(), "{name}");
        }
        assert_eq!(layer.handle().state(), State::Open, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_port_where_nobody_listens_opens_it() {
    let api = FlakyApi::start(Script::new().route("/", Reply::ok("hello"))).await;
    let outage = Outage::begin();
    let (lasts, addrs) = (outage.clone(), (refused_addr(), api.addr()));
    let resolver = service_fn(move |_: Name| {
        let addr: SocketAddr = lasts.pick(addrs.0, addrs.1);
        async move { Ok::<_, io::Error>([addr].into_iter()) }
    });
    let connector = HttpConnector::new_with_resolver(resolver);
    let client = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(connector);

    let layer = breaker();
    let handle = layer.handle();
    let client = layer.layer(client);
    let call = || client.clone().oneshot(put(Uri::from_static("http://api.test/")));
    for _ in 0..3 {
        assert_eq!(handle.state(), State::Closed);
        assert_eq!(refusal(call().await), None);
    }
    assert_eq!(handle.state(), State::Open);
    assert_eq!(refusal(call().await).unwrap().retry_after(), Some(OPEN_FOR));
    outage.end();
    advance(OPEN_FOR).await;
    for state in [State::HalfOpen, State::Closed] {
        assert_eq!(call().await.unwrap().status(), 200);
        assert_eq!(handle.state(), state);
    }
    assert_eq!(api.stats().requests(), 2);
}

const LIMIT: Duration = Duration::from_millis(10);

/// Sends three requests, in real time, that nobody answers.
async fn hang<S>(client: &S, uri: &Uri)
where
    S: Service<Request<Full<Bytes>>, Error = BoxError> + Clone,
    S::Response: Debug,
{
    for _ in 0..3 {
        let error = client.clone().oneshot(get(uri.clone())).await.unwrap_err();
        assert!(error.is::<tower::timeout::error::Elapsed>(), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_opens_it_if_a_timeout_is_inside() {
    let api = FlakyApi::start(Script::new().route("/", Reply::never())).await;
    let layer = breaker();
    hang(&layer.layer(TimeoutLayer::new(LIMIT).layer(http1())), &api.url("/")).await;
    assert_eq!(layer.handle().state(), State::Open);
}

#[tokio::test]
async fn a_server_that_hangs_opens_it_under_a_timeout_if_dropped_calls_count() {
    for (on_cancel, expected) in [
        (OnCancel::Ignore, State::Closed),
        (OnCancel::FailureAfter(Duration::from_secs(60)), State::Closed),
        (OnCancel::FailureAfter(LIMIT), State::Open),
    ] {
        let outage = Outage::begin();
        let api = outage.api(Reply::never()).await;
        let layer = breaker().on_cancel(on_cancel);
        let client = layer.layer(http1());
        hang(&TimeoutLayer::new(LIMIT).layer(client.clone()), &api.url("/")).await;
        assert_eq!(layer.handle().state(), expected, "{on_cancel:?}");

        outage.end();
        tokio::time::pause();
        // It opened in the middle of a millisecond.
        advance(OPEN_FOR + MS).await;
        for _ in 0..2 {
            let response = client.clone().oneshot(get(api.url("/"))).await.unwrap();
            assert_eq!(read(response).await.unwrap(), "hello");
        }
        tokio::time::resume();
        assert_eq!(layer.handle().state(), State::Closed, "{on_cancel:?}");
    }
}

/// The state after these answers, one each.
async fn state_after<const N: usize>(trip: Trip, answers: [u16; N]) -> State {
    let plan = Plan::sequence(answers.map(Reply::status));
    let api = FlakyApi::start(Script::new().route("/", plan)).await;
    let layer = CircuitBreakerLayer::http().trip(trip);
    let client = layer.layer(http1());
    for status in answers {
        assert_eq!(client.clone().oneshot(get(api.url("/"))).await.unwrap().status(), status);
    }
    layer.handle().state()
}

#[tokio::test]
async fn a_rate_limit_counts_for_the_rate_alone() {
    let row = Trip::consecutive(3);
    assert_eq!(state_after(row, [429; 9]).await, State::Closed);
    // It says nothing about whether the server works, so it does not end a row either.
    assert_eq!(state_after(row, [503, 429, 503, 429, 503]).await, State::Open);
    assert_eq!(state_after(row, [503, 200, 503, 200, 503]).await, State::Closed);

    let rate = Trip::failure_rate(0.5).min_calls(4);
    assert_eq!(state_after(rate, [429; 3]).await, State::Closed);
    assert_eq!(state_after(rate, [429; 4]).await, State::Open);
    assert_eq!(state_after(rate, [200, 429, 200, 429]).await, State::Open);
    assert_eq!(state_after(rate, [200, 200, 200, 429]).await, State::Closed);
}

#[tokio::test]
async fn what_the_caller_did_wrong_does_not_open_it() {
    let any = Trip::consecutive(1).or(Trip::failure_rate(0.01).min_calls(1));
    for status in [400, 401, 403, 404, 409, 422] {
        assert_eq!(state_after(any, [status; 9]).await, State::Closed, "{status}");
    }
    assert_eq!(state_after(any, [404, 503]).await, State::Open);
}

#[tokio::test(start_paused = true)]
async fn it_stays_open_for_as_long_as_the_server_asks() {
    for (asked, status, expected) in [("30", 503, 30), ("1", 503, 5), ("3600", 503, 60)] {
        let reply = Reply::status(status).header("retry-after", asked);
        let api = FlakyApi::start(Script::new().route("/", reply)).await;
        let client = breaker().layer(http1());
        let call = || client.clone().oneshot(get(api.url("/")));
        for _ in 0..3 {
            assert_eq!(call().await.unwrap().status(), status);
        }
        let open = refusal(call().await).unwrap();
        assert_eq!(open.retry_after(), Some(Duration::from_secs(expected)), "{asked}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_down_leaves_others_alone() {
    for client in [http1(), http2()] {
        let outage = Outage::begin();
        let down = outage.api(Reply::status(503)).await;
        let up = FlakyApi::start(Script::new().route("/", Reply::ok("hello"))).await;
        let recorder = Arc::new(RecordingObserver::new());
        let observer: Arc<dyn Observer> = recorder.clone();
        let layer = breaker().observer(observer).keyed(ByAuthority);
        let breakers = layer.breakers();
        let state = |api: &FlakyApi| breakers.get(&Some(api.addr().to_string())).unwrap().state();
        let client = layer.layer(client);
        let call = |api: &FlakyApi| client.clone().oneshot(get(api.url("/")));

        for _ in 0..3 {
            assert_eq!(call(&down).await.unwrap().status(), 503);
            assert_eq!(call(&up).await.unwrap().status(), 200);
        }
        assert_eq!((state(&down), state(&up)), (State::Open, State::Closed));
        assert!(refusal(call(&down).await).is_some());
        assert_eq!(call(&up).await.unwrap().status(), 200);
        assert_eq!(breakers.len(), 2);
        for told in recorder.take() {
            assert_eq!(told.authority, Some(down.addr().to_string()), "{}", told.event);
        }

        outage.end();
        advance(OPEN_FOR).await;
        for expected in [State::HalfOpen, State::Closed] {
            assert_eq!(call(&down).await.unwrap().status(), 200);
            assert_eq!((state(&down), state(&up)), (expected, State::Closed));
        }
    }
}

/// Sends three requests, reads what comes, and says in what state the breaker is.
async fn state_after_bodies(client: Http, uri: &Uri, at_body_end: bool) -> State {
    async fn call<S, B>(client: &S, uri: &Uri)
    where
        S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = BoxError> + Clone,
        B: http_body::Body + Debug,
    {
        let response = client.clone().oneshot(get(uri.clone())).await.expect("a head arrives");
        assert_eq!(response.status(), 200);
        let _ = read(response).await;
    }

    let layer = breaker();
    let handle = layer.handle();
    let plain = layer.clone().layer(client.clone());
    let watched = layer.at_body_end().layer(client);
    for _ in 0..3 {
        match at_body_end {
            true => call(&watched, uri).await,
            false => call(&plain, uri).await,
        }
    }
    handle.state()
}

#[tokio::test]
async fn a_body_that_breaks_off_counts_at_its_end() {
    for (name, steps, expected) in [
        ("whole", Steps::ok("hello"), State::Closed),
        ("truncated", Steps::content_length_too_long(), State::Open),
        ("bad chunk", Steps::bad_chunk(), State::Open),
    ] {
        let server = FaultServer::start(move |_| steps.clone()).await;
        let uri = server.url("/");
        assert_eq!(state_after_bodies(http1(), &uri, true).await, expected, "{name}");
        assert_eq!(state_after_bodies(http1(), &uri, false).await, State::Closed, "{name}");
    }
    for (name, reply, expected) in [
        ("whole", Reply::ok("hello"), State::Closed),
        ("truncated", Reply::ok("hello").truncated(2), State::Open),
        ("reset", Reply::ok("hello").reset_after(2), State::Open),
    ] {
        let api = FlakyApi::start(Script::new().route("/", reply)).await;
        for client in [http1(), http2()] {
            let uri = api.url("/");
            assert_eq!(state_after_bodies(client.clone(), &uri, true).await, expected, "{name}");
            assert_eq!(state_after_bodies(client, &uri, false).await, State::Closed, "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_lasts_to_the_end_of_its_body() {
    for client in [http1(), http2()] {
        let outage = Outage::begin();
        let api = outage.api(Reply::status(503)).await;
        let layer = breaker().at_body_end();
        let handle = layer.handle();
        let client = layer.layer(client);
        let call = || client.clone().oneshot(get(api.url("/")));
        for _ in 0..3 {
            assert_eq!(call().await.unwrap().status(), 503);
        }
        outage.end();
        advance(OPEN_FOR).await;

        let (first, second) = (call().await.unwrap(), call().await.unwrap());
        assert_eq!(handle.snapshot().probes_in_flight, 2);
        assert_eq!(refusal(call().await).unwrap().reason(), OpenReason::Probing);
        // Dropped, it counts by its head.
        drop(first);
        assert_eq!(handle.snapshot().probes_in_flight, 1);
        assert_eq!(read(second).await.unwrap(), "hello");
        assert_eq!(handle.state(), State::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn of_many_calls_at_once_only_the_probes_arrive() {
    for client in [http1(), http2()] {
        let outage = Outage::begin();
        let api = outage.api(Reply::status(503)).await;
        let layer = breaker();
        let client = layer.layer(client);
        let call = || client.clone().oneshot(put(api.url("/")));
        for _ in 0..3 {
            assert_eq!(call().await.unwrap().status(), 503);
        }
        outage.end();
        advance(OPEN_FOR).await;

        let mut calls: JoinSet<Result<Response<Incoming>, _>> = JoinSet::new();
        (0..64).for_each(|_| drop(calls.spawn(call())));
        let results = calls.join_all().await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 2);
        for open in results.into_iter().filter_map(refusal) {
            assert_eq!(open.reason(), OpenReason::Probing);
        }
        assert_eq!(api.stats().requests(), 3 + 2);
        assert_eq!(layer.handle().state(), State::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_given_up_leaves_its_place_to_another() {
    for client in [http1(), http2()] {
        let script = Script::new()
            .route("/fails", Reply::status(503))
            .route("/hangs", Reply::never())
            .route("/", Reply::ok("hello"));
        let api = FlakyApi::start(script).await;
        let layer = breaker();
        let handle = layer.handle();
        let client = layer.layer(client);
        let call = |path| client.clone().oneshot(get(api.url(path)));
        for _ in 0..3 {
            assert_eq!(call("/fails").await.unwrap().status(), 503);
        }
        advance(OPEN_FOR).await;

        for _ in 0..3 {
            tokio::select! {
                result = call("/hangs") => panic!("{result:?}"),
                _ = api.wait_for(|stats| stats.in_flight() == 1) => {}
            }
            api.wait_for(|stats| stats.in_flight() == 0).await;
            assert_eq!(handle.snapshot().probes_in_flight, 0);
        }
        for state in [State::HalfOpen, State::Closed] {
            assert_eq!(call("/").await.unwrap().status(), 200);
            assert_eq!(handle.state(), state);
        }
    }
}

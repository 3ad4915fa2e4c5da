//! Metrics of calls and attempts around retry and breaker, over sockets.

use std::{convert::Infallible, future::Future, io, sync::Arc, task::Poll};

use axum::{Router, routing};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::HOST};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, channel::Channel};
use hyper_util::rt::TokioIo;
use palisade_core::{Endpoint, ErrorKind, Event, Observer, Target};
use palisade_metrics::{Registry, Requests, Routes};
use palisade_testkit::{FaultServer, FlakyApi, Reply, Script, Steps, refused_addr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, timeout::TimeoutLayer};

use crate::support::{MS, breaker, get, http1, http2, read, retry};

#[tokio::test(start_paused = true)]
async fn a_call_is_one_and_its_attempts_are_three() {
    let down = Reply::status(503);
    let script = Script::new().route("/", [down.clone(), Reply::reset(), Reply::ok("hello")]);
    let api = FlakyApi::start(script).await;
    let metrics = Registry::new();
    let client = ServiceBuilder::new()
        .layer(metrics.calls())
        .layer(retry().observer(metrics.observer()))
        .layer(metrics.attempts())
        .service(http1());
    let response = client.oneshot(get(api.url("/"))).await.unwrap();
    assert_eq!(read(response).await.unwrap(), "hello");

    let snapshot = metrics.snapshot();
    assert_eq!((snapshot.calls.count(), snapshot.calls.status(200)), (1, 1));
    assert_eq!(snapshot.attempts.count(), 3);
    assert_eq!((snapshot.attempts.status(503), snapshot.attempts.status(200)), (1, 1));
    assert_eq!(snapshot.attempts.errors(ErrorKind::Closed), 1);
    assert_eq!(snapshot.attempts_per_call(), Some(3.0));
    assert_eq!((snapshot.calls.in_flight(), snapshot.attempts.in_flight()), (0, 0));
    assert_eq!(snapshot.calls.success_rate(), Some(1.0));
    let causes = snapshot.events.iter().filter(|event| event.event == "retry");
    let causes: Vec<_> =
        causes.map(|event| (event.cause.as_deref().unwrap(), event.count)).collect();
    assert_eq!(causes, [("closed", 1), ("503", 1)]);
}

#[tokio::test(start_paused = true)]
async fn what_a_breaker_refuses_is_a_call_without_an_attempt() {
    let api = FlakyApi::start(Script::new().route("/", Reply::status(503))).await;
    let metrics = Registry::new();
    let observer: Arc<dyn Observer> = metrics.observer();
    let client = ServiceBuilder::new()
        .layer(metrics.calls())
        .layer(breaker().observer(observer))
        .layer(metrics.attempts())
        .service(http1());
    for _ in 0..3 {
        let response = client.clone().oneshot(get(api.url("/"))).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        read(response).await.unwrap();
    }
    assert!(client.oneshot(get(api.url("/"))).await.is_err());

    let snapshot = metrics.snapshot();
    assert_eq!((snapshot.calls.count(), snapshot.attempts.count()), (4, 3));
    assert_eq!(snapshot.calls.errors(ErrorKind::Open), 1);
    assert_eq!(snapshot.calls.outcomes().of("refused"), 1);
    assert_eq!(snapshot.breakers[0].state, "open");
    // The server has counted the same.
    assert_eq!(snapshot.attempts.status(503), api.stats().answered(503));
}

/// Sends a request, reads what comes, and says what was counted: one request, with this status, with
/// this kind of error.
async fn ends<S, R, B>(
    over: impl FnOnce(&Registry) -> S,
    request: R,
) -> (Requests, Option<u16>, Option<String>)
where
    S: Service<R, Response = Response<B>>,
    B: Body,
{
    let metrics = Registry::new();
    if let Ok(response) = over(&metrics).oneshot(request).await {
        let _ = response.into_body().collect().await;
    }
    let attempts = metrics.snapshot().attempts;
    assert_eq!((attempts.count(), attempts.in_flight(), attempts.streams()), (1, 0, 0));
    let results = attempts.groups.iter().flat_map(|group| &group.results);
    let ended = results.clone().find(|result| result.times.count() == 1).unwrap();
    let (status, error) = (ended.status, ended.error.clone());
    (attempts, status, error)
}

fn kind(kind: ErrorKind) -> Option<String> {
    Some(kind.as_str().to_owned())
}

#[tokio::test]
async fn what_fails_before_the_head_is_counted_by_its_kind() {
    let plain = |metrics: &Registry| metrics.attempts().layer(http1());
    let refused = get(format!("http://{}/", refused_addr()).parse().unwrap());
    let (_, status, error) = ends(plain, refused).await;
    assert_eq!((status, error), (None, kind(ErrorKind::Connect)));
    // A label has at most 63 bytes, so no resolver is asked.
    let nowhere = get(format!("http://{}.invalid/", "x".repeat(64)).parse().unwrap());
    let (_, status, error) = ends(plain, nowhere).await;
    assert_eq!((status, error), (None, kind(ErrorKind::Dns)));

    let api = FlakyApi::start(Script::new().route("/", Reply::never())).await;
    let timeout = TimeoutLayer::new(20 * MS);
    let inside = |metrics: &Registry| metrics.attempts().layer(timeout.layer(http1()));
    let (_, status, error) = ends(inside, get(api.url("/"))).await;
    assert_eq!((status, error), (None, kind(ErrorKind::Timeout)));
    let outside = |metrics: &Registry| timeout.layer(metrics.attempts().layer(http1()));
    let (_, status, error) = ends(outside, get(api.url("/"))).await;
    assert_eq!((status, error), (None, kind(ErrorKind::Cancelled)));

    let server = FaultServer::start(|_| Steps::garbage()).await;
    let (_, status, error) = ends(plain, get(server.url("/"))).await;
    assert_eq!((status, error), (None, kind(ErrorKind::Protocol)));
}

#[tokio::test]
async fn heads_without_a_body_end_their_requests() {
    let script = Script::new()
        .route("HEAD /", Reply::ok("five!"))
        .route("/204", Reply::status(204))
        .route("/304", Reply::status(304))
        .route("/200", Reply::ok(""));
    let api = FlakyApi::start(script).await;
    for (method, path, status) in
        [("HEAD", "/", 200), ("GET", "/204", 204), ("GET", "/304", 304), ("GET", "/200", 200)]
    {
        for client in [http1(), http2()] {
            let metrics = Registry::new();
            let mut request = get(api.url(path));
            *request.method_mut() = method.parse().unwrap();
            let response = metrics.attempts().layer(client).oneshot(request).await.unwrap();
            // Before anybody reads.
            let attempts = metrics.snapshot().attempts;
            assert_eq!((attempts.status(status), attempts.in_flight()), (1, 0), "{path}");
            drop(response);
            let attempts = metrics.snapshot().attempts;
            assert_eq!((attempts.count(), attempts.groups[0].unread), (1, 0), "{path}");
        }
    }
}

#[tokio::test]
async fn a_status_that_informs_is_no_answer() {
    let server = FaultServer::start(|_| Steps::informational()).await;
    let plain = |metrics: &Registry| metrics.attempts().layer(http1());
    let (attempts, status, error) = ends(plain, get(server.url("/"))).await;
    assert_eq!((status, error, attempts.received()), (Some(200), None, 5));
    assert_eq!(attempts.groups[0].results.len(), 1);
}

#[tokio::test]
async fn bodies_that_break_off_keep_their_status() {
    let script = Script::new()
        .route("/short", Reply::ok("hello").truncated(2))
        .route("/reset", Reply::ok("hello").reset_after(2));
    let api = FlakyApi::start(script).await;
    for path in ["/short", "/reset"] {
        let plain = |metrics: &Registry| metrics.attempts().layer(http1());
        let (attempts, status, error) = ends(plain, get(api.url(path))).await;
        assert_eq!((status, error), (Some(200), kind(ErrorKind::Body)), "{path}");
        assert_eq!((attempts.received(), attempts.outcomes().of("transient")), (2, 1), "{path}");
    }
    let server = FaultServer::start(|_| Steps::bad_chunk()).await;
    let plain = |metrics: &Registry| metrics.attempts().layer(http1());
    let (attempts, status, error) = ends(plain, get(server.url("/"))).await;
    assert_eq!((status, error), (Some(200), kind(ErrorKind::Body)));
    assert_eq!(attempts.received(), 5);
}

#[tokio::test]
async fn streams_of_http2_that_are_reset_or_sent_away_are_counted() {
    let api = FlakyApi::start(Script::new().route("/", Reply::ok("hello").reset_after(2))).await;
    let plain = |metrics: &Registry| metrics.attempts().layer(http2());
    let (attempts, status, error) = ends(plain, get(api.url("/"))).await;
    assert_eq!((status, error), (Some(200), kind(ErrorKind::Body)));
    assert_eq!(attempts.received(), 2);
    for steps in [Steps::h2_go_away_on_request, Steps::h2_refused_stream] {
        let server = FaultServer::start(move |_| steps()).await;
        let (attempts, status, error) = ends(plain, get(server.url("/"))).await;
        assert_eq!((status, error), (None, kind(ErrorKind::Closed)));
        assert_eq!(attempts.outcomes().of("unsent"), 1);
    }
    // A GOAWAY after the answer takes nothing from it.
    let api = FlakyApi::start(Script::new().route("/", Reply::ok("hello").close())).await;
    let (attempts, status, error) = ends(plain, get(api.url("/"))).await;
    assert_eq!((status, error, attempts.received()), (Some(200), None, 5));
}

#[tokio::test]
async fn an_answer_to_half_an_upload_is_an_answer() {
    let reply = Reply::status(413).body("enough").early();
    let api = FlakyApi::start(Script::new().route("/", reply)).await;
    for client in [http1(), http2()] {
        let (mut upload, body) = Channel::<Bytes, io::Error>::new(2);
        upload.send_data(Bytes::from("the b")).await.unwrap();
        let metrics = Registry::new();
        let request = Request::post(api.url("/")).body(body).unwrap();
        let response = metrics.attempts().layer(client).oneshot(request).await.unwrap();
        // What becomes of the upload now is no matter of the answer.
        upload.abort(io::ErrorKind::UnexpectedEof.into());
        let _ = response.into_body().collect().await;
        let attempts = metrics.snapshot().attempts;
        assert_eq!((attempts.count(), attempts.in_flight(), attempts.status(413)), (1, 0, 1));
        // How long the upload is, it does not say.
        assert_eq!(attempts.sent(), 0);
    }
}

#[tokio::test]
async fn an_upload_that_fails_is_the_callers_error() {
    let api = FlakyApi::start(Script::new().route("/", Reply::ok(""))).await;
    let (mut upload, body) = Channel::<Bytes, io::Error>::new(2);
    upload.try_send(Frame::data(Bytes::from("the b"))).unwrap();
    upload.abort(io::ErrorKind::UnexpectedEof.into());
    let request = Request::post(api.url("/")).body(body).unwrap();
    let plain = |metrics: &Registry| metrics.attempts().layer(http1());
    let (attempts, status, error) = ends(plain, request).await;
    assert_eq!((status, error), (None, kind(ErrorKind::Body)));
    assert_eq!(attempts.success_rate(), None);
}

#[tokio::test]
async fn an_upgrade_passes_through_and_ends_with_its_head() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    let open = "HTTP/1.1 200 OK\r\n\r\n";
    for (method, head, status) in [("GET", switch, 101), ("CONNECT", open, 200)] {
        let steps =
            move |_| Steps::new().read_head().write(head).read_exact(4).write("pong").read_to_end();
        let server = FaultServer::start(steps).await;
        let metrics = Registry::new();
        let mut request = get(server.url("/"));
        *request.method_mut() = method.parse().unwrap();
        request.headers_mut().insert("connection", "upgrade".parse().unwrap());
        request.headers_mut().insert("upgrade", "echo".parse().unwrap());
        let mut response = metrics.attempts().layer(http1()).oneshot(request).await.unwrap();
        let upgraded = hyper::upgrade::on(&mut response).await.unwrap();
        let attempts = metrics.snapshot().attempts;
        assert_eq!((attempts.status(status), attempts.in_flight()), (1, 0), "{method}");
        // hyper hands the connection out beside the response, whose body is empty.
        assert_eq!(attempts.streams(), 0, "{method}");
        let mut upgraded = TokioIo::new(upgraded);
        upgraded.write_all(b"ping").await.unwrap();
        let mut pong = [0; 4];
        upgraded.read_exact(&mut pong).await.unwrap();
        assert_eq!(&pong, b"pong");
        drop((upgraded, response));
        let attempts = metrics.snapshot().attempts;
        assert_eq!((attempts.count(), attempts.streams()), (1, 0), "{method}");
    }
}

#[tokio::test]
async fn a_stream_of_events_is_none_of_the_times() {
    let events = Reply::ok("data: 1\n\ndata: 2\n\n").chunked().slow_body(9, 50 * MS);
    let script = Script::new().route("/", events.header("content-type", "text/event-stream"));
    let api = FlakyApi::start(script).await;
    let metrics = Registry::new();
    let response = metrics.attempts().layer(http1()).oneshot(get(api.url("/"))).await.unwrap();
    let head = metrics.snapshot().attempts;
    assert_eq!((head.count(), head.in_flight(), head.streams()), (1, 0, 1));
    assert_eq!(read(response).await.unwrap().len(), 18);
    let end = metrics.snapshot().attempts;
    assert_eq!((end.count(), end.streams(), end.received()), (1, 0, 18));
    assert_eq!(end.times(), head.times());
}

/// An observer that does not survive its first event.
#[derive(Debug)]
struct Panics;

impl Observer for Panics {
    fn on_event(&self, _: Target<'_>, _: &Event) {
        // Without the hook: it is no news for the log.
        std::panic::resume_unwind(Box::new(()));
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_ends_its_call() {
    let api = FlakyApi::start(Script::new().route("/", Reply::status(503))).await;
    let metrics = Registry::new();
    let client = ServiceBuilder::new()
        .layer(metrics.calls())
        .layer(retry().observer(Arc::new(Panics)))
        .layer(metrics.attempts())
        .service(http1());
    let mut call = Box::pin(client.oneshot(get(api.url("/"))));
    let panicked = std::future::poll_fn(|cx| {
        let polled = std::panic::AssertUnwindSafe(|| call.as_mut().poll(cx).map(drop));
        match std::panic::catch_unwind(polled) {
            Ok(Poll::Pending) => Poll::Pending,
            polled => Poll::Ready(polled.is_err()),
        }
    });
    assert!(panicked.await);
    drop(call);
    let snapshot = metrics.snapshot();
    assert_eq!((snapshot.calls.in_flight(), snapshot.attempts.in_flight()), (0, 0));
    assert_eq!((snapshot.calls.count(), snapshot.calls.errors(ErrorKind::Panic)), (1, 1));
    assert_eq!((snapshot.attempts.count(), snapshot.attempts.status(503)), (1, 1));
}

static LIST_USERS: Endpoint = Endpoint::new(Method::GET, "/users");
static GET_USER: Endpoint = Endpoint::new(Method::GET, "/users/{id}");

#[tokio::test]
async fn a_server_is_counted_by_the_same_layer() {
    let metrics = Registry::new();
    let layer = metrics.calls().endpoints(Routes::new([&LIST_USERS, &GET_USER]));
    let router = Router::new()
        .route("/users", routing::get("all"))
        .route("/users/{id}", routing::get(StatusCode::NOT_FOUND))
        .layer(layer);
    for path in ["/users", "/users/1", "/users/2", "/wp-login.php"] {
        let mut request = Request::get(path).body(axum::body::Body::empty()).unwrap();
        request.headers_mut().insert(HOST, "api.example".parse().unwrap());
        let Ok::<_, Infallible>(response) = router.clone().oneshot(request).await;
        response.into_body().collect().await.unwrap();
    }
    let calls = metrics.snapshot().calls;
    assert_eq!((calls.count(), calls.in_flight()), (4, 0));
    assert_eq!(calls.endpoint("GET", "/users").status(200), 1);
    assert_eq!(calls.endpoint("GET", "/users/{id}").status(404), 2);
    assert!(calls.groups.iter().all(|group| group.authority.as_deref() == Some("api.example")));
}

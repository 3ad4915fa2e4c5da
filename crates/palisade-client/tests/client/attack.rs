//! What an enemy would try: servers that lie, callers that misuse, times that are odd.

use std::{
    iter,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::join_all};
use http::{Method, Request, Response, StatusCode, header::CONTENT_ENCODING};
use http_body::Frame;
use http_body_util::StreamBody;
use palisade_auth::ApiKey;
use palisade_circuit_breaker::{CircuitBreakerLayer, Trip};
use palisade_client::{Body, BoxedService, Client, Error, Kind};
use palisade_core::{BoxError, ErrorKind, Origins, Refusal};
use palisade_testkit::{FaultServer, Steps};
use tokio::{
    runtime::Builder,
    time::{Instant, timeout},
};
use tower::{ServiceExt, layer::layer_fn, service_fn};

use crate::servers::{Server, get, redirect, reply, text};

const SECRET: &str = "s3cret";

/// What comes of it by itself: the timer here would wake what hangs as well.
async fn soon<F: Future>(future: F) -> F::Output {
    const HOUR: Duration = Duration::from_secs(3600);
    let start = Instant::now();
    let output = timeout(HOUR, future).await.expect("it ends");
    assert!(start.elapsed() < HOUR, "nothing has woken it");
    output
}

fn client() -> Client {
    Client::builder().no_proxy().no_retry().build().unwrap()
}

fn with_secrets(method: &str, uri: String, body: &'static str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(uri)
        .header("authorization", SECRET)
        .header("referer", SECRET)
        .header("x-own", SECRET)
        .body(Body::from(body))
        .unwrap()
}

fn tells(server: &Server) -> bool {
    server.seen().iter().any(|seen| {
        let fields = seen.headers.values().any(|value| value == SECRET);
        fields || seen.uri.to_string().contains(SECRET) || seen.body == SECRET
    })
}

/// A server that redirects, and the one that it redirects to.
async fn away(status: u16) -> (Server, Server) {
    let other = Server::start(|_| reply(200, "there")).await;
    let to = other.url("/landed");
    (Server::start(move |_| redirect(status, &to)).await, other)
}

#[tokio::test]
async fn what_has_an_effect_or_a_body_is_not_asked_of_another_origin() {
    for (method, body, status) in [
        ("PUT", SECRET, 301),
        ("PATCH", SECRET, 302),
        ("DELETE", "", 302),
        ("DELETE", "", 307),
        ("GET", SECRET, 302),
        ("GET", SECRET, 308),
        ("QUERY", SECRET, 307),
    ] {
        let (first, other) = away(status).await;
        let request = with_secrets(method, first.url("/"), body);
        assert_eq!(client().oneshot(request).await.unwrap().status(), status, "{method}");
        assert!(other.seen().is_empty(), "{method} {status}: {:?}", other.seen());
    }
    for (method, status) in [("POST", 301), ("POST", 302), ("PUT", 303), ("GET", 303)] {
        let (first, other) = away(status).await;
        client().oneshot(with_secrets(method, first.url("/"), SECRET)).await.unwrap();
        assert_eq!(other.seen()[0].method, Method::GET, "{method} {status}");
        assert!(!tells(&other), "{method} {status}: {:?}", other.seen());
    }
}

#[tokio::test]
async fn who_went_away_comes_back_without_secrets() {
    let first = Server::start(|seen| match seen.uri.query() {
        Some(away) => redirect(302, away),
        None => reply(200, "back"),
    });
    let first = first.await;
    let back = first.url("/back");
    let other = Server::start(move |_| redirect(302, &back)).await;
    let away = first.url(&format!("/?{}", other.url("/")));
    let response = client().oneshot(with_secrets("GET", away, "")).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "back");
    assert!(!tells(&other));
    let seen = &first.seen()[1];
    assert!(!seen.headers.values().any(|value| value == SECRET), "{seen:?}");
}

#[tokio::test]
async fn a_location_is_read_as_it_is_meant() {
    let other = Server::start(|_| reply(200, "there")).await;
    let at = other.addr;
    for (location, lands) in [
        (format!("//{at}/x"), "there"),
        (format!("///{at}/x"), ""),
        (format!("\\\\{at}/x"), "there"),
        (format!("http://127.0.0.1@{at}/x"), "there"),
        (format!("http://u:s3cret@{at}/x"), "there"),
        ("/x#//evil".to_owned(), "here"),
        ("x".to_owned(), "here"),
        ("/../../x".to_owned(), "here"),
        ("javascript:alert(1)".to_owned(), ""),
        ("file:///etc/passwd".to_owned(), ""),
        ("http://[".to_owned(), ""),
        ("http://a:99999/".to_owned(), ""),
    ] {
        let to = location.clone();
        let first = Server::start(move |seen| match seen.uri.path() {
            "/start" => redirect(302, &to),
            _ => reply(200, "here"),
        });
        let first = first.await;
        let request = with_secrets("GET", first.url("/start"), "");
        let response = client().oneshot(request).await;
        let response = response.unwrap_or_else(|error| panic!("{location}: {error:?}"));
        assert_eq!(text(response).await.unwrap(), lands, "{location}");
        assert!(!tells(&other), "{location}: {:?}", other.seen());
        assert!(first.seen().iter().all(|seen| seen.headers["x-own"] == SECRET), "{location}");
    }
}

#[tokio::test]
async fn a_key_in_the_query_stays_there() {
    let (first, other) = away(302).await;
    let key = ApiKey::query("key", SECRET).unwrap();
    let builder = Client::builder().no_proxy().no_retry().base_url(first.url("/"));
    let origins = Origins::new([first.url("")]);
    let client = builder.auth(key, origins).build().unwrap();
    let response = client.get("/a").send().await.unwrap();
    assert!(first.seen()[0].uri.to_string().contains(SECRET));
    assert!(!tells(&other), "{:?}", other.seen());
    let told = format!("{response:?} {client:?} {}", response.uri());
    assert!(!told.contains(SECRET), "{told}");
    drop(first);
}

fn chunked(more: &'static str) -> Steps {
    Steps::new()
        .read_head()
        .write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        .write(more)
}

fn answer(head: &'static str, body: &'static [u8]) -> Steps {
    Steps::new().read_head().write(head).write(body).read_to_end()
}

#[tokio::test]
async fn a_body_without_end_is_let_go() {
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 16, " ".repeat(1 << 16));
    let endless = |status: &str, framing: &str, piece: Bytes| {
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: text/html\r\n{framing}\r\n\r\n");
        Steps::new().read_head().write(head).write_forever(piece)
    };
    let ten = "content-length: 10000000000";
    let piece = Bytes::from(" ".repeat(1 << 16));
    for (steps, kind) in [
        (endless("200 OK", "transfer-encoding: chunked", chunk.into()), Kind::TooLarge),
        (endless("200 OK", ten, piece.clone()), Kind::TooLarge),
        (endless("200 OK", "connection: close", piece.clone()), Kind::TooLarge),
        (endless("500 No", ten, piece), Kind::Status),
    ] {
        let server = FaultServer::start(move |_| steps.clone()).await;
        let get = || client().get(server.url("/")).send();
        let error = match kind {
            Kind::Status => get().await.unwrap().error_for_status().await.unwrap_err(),
            _ => get().await.unwrap().body_limit(1 << 20).bytes().await.unwrap_err(),
        };
        assert_eq!(error.kind(), kind);
        assert!(error.body().unwrap().len() <= 1 << 16);
        let error = get().await.unwrap().body_limit(1 << 20).json::<()>().await.unwrap_err();
        assert!(error.is_truncated(), "{error:?}");
        server.wait_for(|stats| stats.open_connections() == 0).await;
    }
}

#[tokio::test]
async fn a_body_that_keeps_nobody_waiting_ends_in_time() {
    // They count for no limit, nor does a block of which nothing comes: RFC 1951, section 3.2.4.
    const START: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\x02\x03";
    const BLOCK: &[u8] = b"\0\0\0\xff\xff";
    let bodies: [(_, _, &[u8]); 3] =
        [("identity", b"" as &[u8], b""), ("gzip", b"", b""), ("gzip", START, BLOCK)];
    for (coding, start, piece) in bodies {
        let endless = move |_: Request<Body>| async move {
            let pieces = iter::once(start).chain(iter::repeat(piece));
            let pieces = pieces.map(|piece| Ok::<_, BoxError>(Frame::data(piece.into())));
            let body = Body::stream(StreamBody::new(futures_util::stream::iter(pieces)));
            Ok::<_, BoxError>(Response::builder().header(CONTENT_ENCODING, coding).body(body)?)
        };
        let client = Client::builder().build_over(service_fn(endless)).unwrap();
        let request = client.get("http://api.example/".to_owned());
        let request = request.timeout(Duration::from_millis(20));
        let error = request.send().await.unwrap().bytes().await.unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
    }
}

#[tokio::test]
async fn what_a_server_says_is_an_answer_or_a_named_error() {
    const GZIP: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\x02\x03\x53\xca\x48\xcd\xc9\xc9\xd7\x51\x40\xa6\x94\0\xbe\x90\x06\x5a\x15\0\0\0";
    const ZIPPED: &str = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 30\r\n\r\n";
    const EMPTY: &str = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 0\r\n\r\n";
    const HALF: &str = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 20\r\n\r\n";
    const GONE: &str = "HTTP/1.1 204 No Content\r\ncontent-encoding: gzip\r\n\r\n";
    for (method, steps, said) in [
        ("GET", answer(ZIPPED, GZIP), Ok("\"hello, hello, hello\"")),
        ("HEAD", answer(ZIPPED, b""), Ok("")),
        ("GET", answer(EMPTY, b""), Ok("")),
        ("GET", answer(GONE, b""), Ok("")),
        ("GET", answer("HTTP/1.1 304 Not\r\ncontent-encoding: gzip\r\n\r\n", b""), Ok("")),
        ("GET", answer(HALF, &GZIP[..20]), Err(Kind::Body)),
        ("GET", answer("HTTP/1.1 204 No\r\ncontent-length: 5\r\n\r\n", b"hello"), Ok("")),
        ("HEAD", answer("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", b"hello"), Ok("")),
        ("GET", answer("HTTP/1.1 200\r\ncontent-length: 5\r\n\r\n", b"hello"), Ok("hello")),
        ("GET", chunked("1\r\na\r\n1\r\nb\r\n0\r\nx-sum: 1\r\n\r\n"), Ok("ab")),
        ("GET", chunked("1;x=\"y\"\r\na\r\n000000\r\n\r\n"), Ok("a")),
        ("GET", chunked("fffffffffffffffff\r\na"), Err(Kind::Body)),
        ("GET", chunked("-1\r\na"), Err(Kind::Body)),
        ("GET", chunked("1\r\na"), Err(Kind::Body)),
        ("GET", Steps::content_length_too_long(), Err(Kind::Body)),
        ("GET", Steps::content_length_too_short(), Ok("hello")),
        ("GET", Steps::bad_chunk(), Err(Kind::Body)),
        ("GET", Steps::informational(), Ok("hello")),
        ("GET", Steps::close_delimited(), Ok("hello")),
        ("GET", Steps::garbage(), Err(Kind::Service)),
        ("GET", Steps::half_head(), Err(Kind::Service)),
        ("GET", Steps::reset_in_head(), Err(Kind::Service)),
        ("GET", Steps::endless_headers(), Err(Kind::Service)),
        (
            "GET",
            answer("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", b"a"),
            Err(Kind::Service),
        ),
        ("GET", answer("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", b"a"), Err(Kind::Service)),
        (
            "GET",
            answer("HTTP/1.1 101 Go\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", b"a"),
            Ok(""),
        ),
    ] {
        let told = format!("{method} {steps:?}");
        let server = FaultServer::start(move |_| steps.clone()).await;
        let request = client().request(method.parse().unwrap(), server.url("/"));
        let read = async { request.send().await?.text().await };
        let read = timeout(Duration::from_secs(30), read).await.expect(&told);
        assert_eq!(read.as_deref().map_err(Error::kind), said, "{told}: {read:?}");
    }
}

#[tokio::test]
async fn an_answer_before_the_upload_is_over_counts_and_the_next_request_works() {
    let server = FaultServer::start(|number| match number {
        1 => Steps::answer_before_body(),
        _ => Steps::ok("next"),
    });
    let server = server.await;
    let client = client();
    let endless = futures_util::stream::repeat_with(|| {
        Ok::<_, BoxError>(Frame::data(Bytes::from_static(&[0; 4096])))
    });
    let response = client.post(server.url("/")).stream(StreamBody::new(endless)).send().await;
    let response = response.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(response.text().await.unwrap(), "hello");
    let next = client.get(server.url("/")).send().await.unwrap();
    assert_eq!(next.text().await.unwrap(), "next");
}

async fn hangs(_: Request<Body>) -> Result<Response<Body>, BoxError> {
    std::future::pending().await
}

#[tokio::test(start_paused = true)]
async fn a_timer_that_is_gone_is_relied_on_by_nobody() {
    // A layer asks another client, and does not wait for it.
    let other = Client::builder().attempt_timeout(Duration::from_secs(1));
    let other = other.build_over(service_fn(hangs)).unwrap();
    let layer = layer_fn(move |inner: BoxedService| {
        let other = other.clone();
        service_fn(move |request: Request<Body>| {
            let (asked, inner) = (other.clone().oneshot(get("http://a.example/")), inner.clone());
            async move {
                let _ = timeout(Duration::from_millis(10), asked).await;
                inner.oneshot(request).await
            }
        })
    });
    let client = Client::builder().no_retry().attempt_layer(layer);
    let client = client.build_over(service_fn(hangs)).unwrap();
    let call = client.oneshot(get("http://b.example/"));
    let error = soon(call).await.unwrap_err();
    assert_eq!(error.to_string(), "attempt took longer than 30s");
}

#[tokio::test(start_paused = true)]
async fn refusals_neither_spin_nor_last_for_ever() {
    for after in [None, Some(Duration::ZERO), Some(Duration::from_nanos(1)), Some(Duration::MAX)] {
        for total in [None, Some(Duration::from_secs(60)), Some(Duration::from_nanos(1))] {
            let count = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&count);
            let refuses = service_fn(move |_: Request<Body>| {
                counted.fetch_add(1, Ordering::Relaxed);
                async move {
                    let refusal = Refusal::new(ErrorKind::Limited);
                    let refusal = after.into_iter().fold(refusal, Refusal::after);
                    Err::<Response<Body>, BoxError>(refusal.into())
                }
            });
            let client = Client::builder().total_timeout(total).build_over(refuses).unwrap();
            let call = client.oneshot(get("http://api.example/"));
            soon(call).await.unwrap_err();
            let calls = count.load(Ordering::Relaxed);
            assert!(calls < 1000, "{calls} calls, {after:?}, {total:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_who_wait_for_a_breaker_storm_nobody() {
    const FAIL: usize = 5;
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let api = service_fn(move |_: Request<Body>| {
        let fails = counted.fetch_add(1, Ordering::Relaxed) < FAIL;
        async move {
            tokio::task::yield_now().await;
            let status = if fails { 503 } else { 200 };
            Ok::<_, BoxError>(Response::builder().status(status).body(Body::empty())?)
        }
    });
    let breaker = CircuitBreakerLayer::http()
        .keyed(palisade_core::ByAuthority)
        .trip(Trip::consecutive(1))
        .open_for(palisade_retry::Backoff::constant(Duration::from_secs(2)));
    let client = Client::builder().circuit_breaker(breaker).build_over(api).unwrap();
    // The first one trips it.
    let first = tokio::spawn(client.clone().oneshot(get("http://api.example/")));
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    let calls = (0..1000).map(|_| client.clone().oneshot(get("http://api.example/")));
    let answers = join_all(calls).await;
    first.await.unwrap().unwrap();
    let good = answers.iter().filter(|answer| answer.as_ref().is_ok_and(|it| it.status() == 200));
    let (good, seen) = (good.count(), count.load(Ordering::Relaxed));
    assert!(good >= 995, "{good} of 1000");
    assert!(seen <= 1001 + FAIL, "{seen} requests");
}

#[tokio::test(start_paused = true)]
async fn odd_times_are_taken_as_they_are() {
    for after in ["100000000000000000000", "-1", "1e9", "Fri, 31 Dec 9999 23:59:59 GMT", "\u{7f}"] {
        let answer = move |_: Request<Body>| async move {
            let response = Response::builder().status(503);
            let after = http::HeaderValue::from_bytes(after.as_bytes());
            let response =
                after.into_iter().fold(response, |it, value| it.header("retry-after", value));
            Ok::<_, BoxError>(response.body(Body::empty())?)
        };
        let client = Client::builder().total_timeout(None).build_over(service_fn(answer)).unwrap();
        let call = client.get("http://api.example/".to_owned()).send();
        let response = soon(call).await.unwrap();
        let error = response.error_for_status().await.unwrap_err();
        assert!(error.to_string().contains("503"), "{error}");
    }
    let client = |limit: Option<Duration>| {
        let builder = Client::builder().attempt_timeout(limit).body_idle_timeout(limit);
        builder.total_timeout(limit).build_over(service_fn(hangs)).unwrap()
    };
    let now = Instant::now().into_std();
    let past = now.checked_sub(Duration::from_secs(1)).unwrap_or(now);
    for limit in [None, Some(Duration::MAX), Some(Duration::from_nanos(1))] {
        let get = || client(limit).get("http://api.example/".to_owned());
        for request in [get().timeout(Duration::ZERO), get().deadline(past)] {
            let error = soon(request.send()).await.unwrap_err();
            assert!(error.is_timeout(), "{error:?}");
        }
    }
}

#[test]
fn a_client_outlives_the_runtimes_that_it_was_used_in() {
    let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
    let servers = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for versions in [palisade_client::HttpVersions::Http1, palisade_client::HttpVersions::Http2] {
        let server = servers.block_on(Server::start(|_| reply(200, "hello")));
        let client = Client::builder().no_proxy().no_retry().http_versions(versions);
        let client = client.base_url(server.url("/")).build().unwrap();
        for _ in 0..3 {
            let said = async { client.get("/").send().await?.text().await };
            assert_eq!(runtime().block_on(said).unwrap(), "hello");
            // Dropped while it connects.
            let mut call = Box::pin(client.get("/").send());
            runtime().block_on(async { assert!((&mut call).now_or_never().is_none()) });
            drop(call);
        }
        let blocking = palisade_client::blocking::Client::of(client);
        assert_eq!(blocking.get("/").send().unwrap().text().unwrap(), "hello");
    }
}

#[test]
fn a_call_can_be_dropped_at_each_poll() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Server::start(|_| reply(200, "1")).await;
        let client = Client::builder().no_proxy().base_url(server.url("/")).build().unwrap();
        for polls in 0..12 {
            let requests = (0..4).map(|_| client.get("/"));
            let mut many = Box::pin(client.fetch_all(requests, 2).json::<u32>());
            for _ in 0..polls {
                let _ = many.next().now_or_never();
                tokio::task::yield_now().await;
            }
            drop(many);
            assert_eq!(client.get("/").send().await.unwrap().json::<u32>().await.unwrap(), 1);
        }
    });
}

#[tokio::test]
async fn a_hook_that_panics_loses_no_result_and_stops_nobody() {
    let api = service_fn(|request: Request<Body>| async move {
        Ok::<_, BoxError>(Response::new(Body::from(request.uri().path()[1..].to_owned())))
    });
    let client = Client::builder().base_url("http://api.example").build_over(api).unwrap();
    let requests = (0..3).map(|id| client.get("/{id}").path("id", id));
    let many = client.fetch_all(requests, 1).on_progress(|progress| {
        assert!(progress.done != 1, "as it was told");
    });
    let mut many = Box::pin(many.json::<u32>());
    let next = catch_unwind(AssertUnwindSafe(|| many.next().now_or_never()));
    assert!(next.is_err());
    let rest = many.map(Result::unwrap).collect::<Vec<_>>();
    let rest = timeout(Duration::from_secs(30), rest).await.expect("it does not hang");
    assert_eq!(rest, [0, 1, 2]);
}

#[test]
fn what_is_no_base_or_proxy_is_told_without_secrets() {
    for (base, fine) in [
        ("http://[::1]:80/v1", true),
        ("http://xn--bcher-kva.example/a%20b", true),
        ("http://api.example.:8080/", true),
        ("http://api.example:99999/", false),
        ("http://api.example:/", true),
        ("http://api.example:8o/", false),
        ("http://[::1", false),
        ("http://:80/", false),
        ("http://a b/", false),
        ("http://bücher.example/", false),
        ("http:///v1", false),
        ("http://api.example/%2e%2E/", false),
        ("http://api.example/?key=s3cret", false),
        ("http://api.example/#s3cret", false),
        ("http://api.example\\@evil.example/", false),
        ("ws://api.example/?key=s3cret", false),
    ] {
        let built = Client::new(base);
        assert_eq!(built.is_ok(), fine, "{base}");
        let told = built.map_or_else(|error| format!("{error} {error:?}"), |it| format!("{it:?}"));
        assert!(!told.contains(SECRET), "{told}");
    }
    for (proxy, fine) in [
        ("http://[::1]:3128", true),
        ("http://u%40x:p%3As@proxy.example:3128", true),
        ("http://u:@proxy.example", true),
        ("http://proxy.example:99999", false),
        ("http://:3128", false),
        ("http://u:s3cret@", false),
        ("http://u:s3cret@:80", false),
        ("http://proxy.example:3128?key=s3cret", true),
        ("socks5://proxy.example?key=s3cret", false),
    ] {
        let built = Client::builder().proxy(proxy).build();
        assert_eq!(built.is_ok(), fine, "{proxy}");
        let told = built.map_or_else(|error| format!("{error} {error:?}"), |it| format!("{it:?}"));
        assert!(!told.contains(SECRET), "{told}");
    }
}

#[test]
fn odd_requests_are_made_or_refused_with_nothing_sent() {
    let client = client();
    let long = "x".repeat(1 << 17);
    let base = || client.clone().base_url("http://api.example/v1");
    let get = |link: &str| base().get(link.to_owned());
    for (request, made) in [
        (base().get("/{a}/{a}").path("a", "/"), Some("/v1/%2F/%2F")),
        (base().get("/{a}").path("a", "%2f%00\0"), Some("/v1/%252f%2500%00")),
        (base().get("/{a}").path("a", &long), None),
        (base().get("/{a}}").path("a", 1), None),
        (base().get("/{{a}}").path("a", 1), None),
        (get("//evil.example/"), None),
        (get("/\\evil.example/.."), None),
        (get("http:/evil.example"), None),
        (get("http://api.example:99999/"), None),
        (get("http://api.example:/x"), Some("/x")),
        (get("/a\r\nx:y"), Some("/v1/a%0D%0Ax:y")),
        (get("/a").header("x", "a\r\nb: c"), None),
        (get("/a").header("x", "a\0"), None),
        (get("/a").header("x y", "a"), None),
    ] {
        let made_path = request.build().map(|request| request.uri().path().to_owned());
        let path = made_path.as_deref().ok();
        assert_eq!(path, made, "{made_path:?}");
        if let Err(error) = &made_path {
            assert_eq!(error.kind(), Kind::Request);
        }
    }
}

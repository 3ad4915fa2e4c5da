//! The retry layer over hyper-util's client.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, server};
use http::{HeaderName, Method, Response, StatusCode, Uri, header};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{HttpConnector, dns::Name},
    },
    rt::TokioExecutor,
};
use palisade_core::{Endpoint, ErrorKind, Observer};
use palisade_retry::{Backoff, Jitter, ReadAheadLayer, RetryInfo, RetryLayer, Stop};
use palisade_testkit::{
    FaultServer, FlakyApi, Plan, RecordingObserver, Reply, Script, Steps, refused_addr,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::Instant,
};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{MS, get, http1, http2, info, post, put, read, retry};

#[tokio::test]
async fn an_unavailable_server_is_asked_again() {
    for (method, key, status, expected) in [
        ("GET", None, 200, (2, None)),
        ("PUT", None, 200, (2, None)),
        ("POST", None, 503, (1, Some(Stop::NotIdempotent))),
        ("POST", Some("k-1"), 200, (2, None)),
    ] {
        for client in [http1(), http2()] {
            let script = Script::new().route("/", [Reply::status(503), Reply::ok("hello")]);
            let api = FlakyApi::start(script).await;
            let mut request = put(api.url("/"));
            *request.method_mut() = method.parse().unwrap();
            if let Some(key) = key {
                let headers = request.headers_mut();
                headers.insert("idempotency-key", key.parse().unwrap());
            }

            let response = retry().layer(client).oneshot(request).await.unwrap();
            assert_eq!(response.status(), status, "{method} {key:?}");
            assert_eq!(info(&response), expected, "{method} {key:?}");
            let requests = api.requests();
            assert_eq!(requests.len(), expected.0 as usize, "{method} {key:?}");
            for request in requests {
                assert_eq!(request.method(), method);
                assert_eq!(request.body(), b"the body");
                assert_eq!(request.headers().get("idempotency-key").is_some(), key.is_some());
            }
        }
    }
}

#[tokio::test]
async fn a_post_is_sent_until_there_is_a_connection() {
    let api = FlakyApi::start(Script::new().route("/", Reply::ok("hello"))).await;
    // First the name is not known, then the port is wrong.
    let answers = [Err(()), Ok(refused_addr()), Ok(api.addr())];
    let answers = Arc::new(Mutex::new(answers.into_iter()));
    let resolver = service_fn(move |_: Name| {
        let answer = answers.lock().unwrap().next().expect("three look-ups");
        async move {
            let addr = answer.map_err(|()| io::Error::other("no such host"))?;
            Ok::<_, io::Error>([addr].into_iter())
        }
    });
    let client =
        Client::builder(TokioExecutor::new()).build(HttpConnector::new_with_resolver(resolver));

    let request = post(Uri::from_static("http://api.test/"));
    let response = retry().layer(client).oneshot(request).await.unwrap();
    assert_eq!(info(&response), (3, None));
    assert_eq!(api.stats().requests(), 1);
}

#[tokio::test]
async fn a_post_is_sent_until_a_stream_takes_it() {
    async fn connection(listener: &TcpListener) -> server::Connection<TcpStream, Bytes> {
        let (stream, _) = listener.accept().await.unwrap();
        server::handshake(stream).await.unwrap()
    }

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/", listener.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut leaving = connection(&listener).await;
        leaving.abrupt_shutdown(Reason::NO_ERROR);
        assert!(leaving.accept().await.is_none(), "no stream was taken");

        let mut connection = connection(&listener).await;
        let (_, mut refused) = connection.accept().await.unwrap().unwrap();
        refused.send_reset(Reason::REFUSED_STREAM);
        let (_, mut taken) = connection.accept().await.unwrap().unwrap();
        taken.send_response(Response::new(()), true).unwrap();
        assert!(connection.accept().await.is_none());
    });

    let request = post(uri.parse().unwrap());
    let response = retry().layer(http2()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(info(&response), (3, None));
    // The last there is of the client, and of its connection.
    drop(response);
    assert!(tasks.join_next().await.unwrap().is_ok());
}

#[tokio::test]
async fn a_post_that_broke_off_is_not_sent_again() {
    for (client, version) in [(http1(), "HTTP/1.1"), (http2(), "HTTP/2")] {
        let script = Script::new().route("/", [Reply::reset(), Reply::ok("hello")]);
        let api = FlakyApi::start(script).await;
        let recorder = Arc::new(RecordingObserver::new());
        let observer: Arc<dyn Observer> = recorder.clone();
        let client = retry().observer(observer).layer(client);

        let error = client.clone().oneshot(post(api.url("/"))).await.unwrap_err();
        assert_eq!(ErrorKind::of(&error), ErrorKind::Closed, "{version}");
        assert_eq!(api.stats().requests(), 1, "{version}");
        let events: Vec<_> = recorder.take().into_iter().map(|told| told.event).collect();
        assert_eq!(
            events,
            ["GaveUp { attempts: 1, delay: 0ns, reason: \"not_idempotent\", \
              cause: Cause { outcome: Transient, result: Err(Closed) } }"],
            "{version}"
        );

        let script = Script::new().route("/", [Reply::reset(), Reply::ok("hello")]);
        let api = FlakyApi::start(script).await;
        let response = client.oneshot(put(api.url("/"))).await.unwrap();
        assert_eq!(info(&response), (2, None), "{version}");
    }
}

#[tokio::test]
async fn a_connection_that_went_stale_costs_an_attempt() {
    for (request, expected) in [(get as fn(Uri) -> _, Some(2)), (post, None)] {
        let server = FaultServer::start(|connection| match connection {
            // It is closed when the second request comes, as if it had been before.
            1 => Steps::new()
                .read_head()
                .write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .read_head(),
            _ => Steps::ok("hello"),
        })
        .await;
        let client = retry().layer(http1());
        let first = client.clone().oneshot(get(server.url("/"))).await.unwrap();
        assert_eq!(read(first).await.unwrap(), "");

        let second = client.oneshot(request(server.url("/"))).await;
        assert_eq!(second.ok().map(|response| info(&response).0), expected);
        assert_eq!(server.stats().connections(), u64::from(expected.unwrap_or(1)));
    }
}

// Paused time jumps to the next timer whenever all tasks wait, for a socket as well. Here the only
// timer is the wait between the attempts.
#[tokio::test(start_paused = true)]
async fn a_rate_limit_is_waited_for() {
    let script =
        Script::new().route("/", Reply::ok("hello")).limit("/", 1, Duration::from_secs(20));
    let api = FlakyApi::start(script).await;
    let client = RetryLayer::http().layer(http1());

    let response = client.clone().oneshot(post(api.url("/"))).await.unwrap();
    assert_eq!(info(&response), (1, None));
    let start = Instant::now();
    let response = client.oneshot(post(api.url("/"))).await.unwrap();
    assert_eq!(response.status(), 200);
    // No retry was made too early, nor much too late.
    assert_eq!(info(&response), (2, None));
    let waited = start.elapsed().as_secs_f64();
    assert!((20.0..22.1).contains(&waited), "{waited}");
    let stats = api.stats();
    assert_eq!((stats.answered(429), stats.answered(200)), (1, 2));
}

/// Sends one request twenty-one times, and counts the connections.
async fn connections(reply: Reply, drain: Option<usize>) -> u64 {
    let script = Script::new().route("/", reply);
    let api = FlakyApi::start(script).await;
    let mut layer = retry().attempts(21).backoff(Backoff::constant(5 * MS).jitter(Jitter::None));
    if let Some(cap) = drain {
        layer = layer.drain(cap);
    }
    let response = layer.layer(http1()).oneshot(get(api.url("/"))).await.unwrap();
    assert_eq!(info(&response), (21, Some(Stop::Attempts)));
    assert_eq!(api.stats().requests(), 21);
    api.stats().connections()
}

#[tokio::test]
async fn a_failed_answer_leaves_its_connection_to_the_next_attempt() {
    let late = || Reply::status(503).body("it failed").late_body(MS);
    assert_eq!(connections(late(), None).await, 1);
    assert_eq!(connections(late().chunked(), None).await, 1);
    assert_ne!(connections(late(), Some(0)).await, 1);
}

#[tokio::test]
async fn a_failed_answer_is_read_up_to_the_cap() {
    let long = || Reply::status(503).body(vec![b'x'; 200_000]);
    assert_eq!(connections(long(), Some(256 * 1024)).await, 1);
    assert_ne!(connections(long(), None).await, 1);
    assert_ne!(connections(long(), Some(0)).await, 1);
}

#[tokio::test]
async fn a_body_that_broke_off_is_read_again() {
    let script = Script::new().route(
        "/",
        [Reply::ok("hello").truncated(2), Reply::ok("hello").reset_after(2), Reply::ok("hello")],
    );
    let api = FlakyApi::start(script).await;
    let client =
        ServiceBuilder::new().layer(retry()).layer(ReadAheadLayer::new(1024)).service(http1());
    let response = client.oneshot(get(api.url("/"))).await.unwrap();
    assert_eq!(info(&response), (3, None));
    assert_eq!(read(response).await.unwrap(), "hello");

    // Without it, that is the caller's to see.
    let api = FlakyApi::start(Script::new().route("/", Reply::ok("hello").truncated(2))).await;
    let response = retry().layer(http1()).oneshot(get(api.url("/"))).await;
    let response = response.unwrap();
    assert_eq!(info(&response), (1, None));
    assert!(read(response).await.is_err());
}

#[tokio::test]
async fn what_was_done_is_told() {
    static ENDPOINT: Endpoint = Endpoint::new(Method::PUT, "/users/{id}");

    let api = FlakyApi::start(Script::new().route("/users/7", Reply::status(503))).await;
    let recorder = Arc::new(RecordingObserver::new());
    let observer: Arc<dyn Observer> = recorder.clone();
    let mut request = put(api.url("/users/7"));
    ENDPOINT.put_into(request.extensions_mut());
    let layer = retry().observer(observer);
    let response = layer.layer(http1()).oneshot(request).await.unwrap();

    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let info = response.extensions().get::<RetryInfo>().unwrap();
    assert_eq!(info.attempts(), 3);
    assert_eq!(info.delay(), 2 * MS);
    assert_eq!(info.stop(), Some(Stop::Attempts));

    let cause = "cause: Cause { outcome: Transient, result: Ok(503) }";
    let expected = [
        format!("Retry {{ attempt: 1, delay: 1ms, {cause} }}"),
        format!("Retry {{ attempt: 2, delay: 1ms, {cause} }}"),
        format!("GaveUp {{ attempts: 3, delay: 2ms, reason: \"attempts\", {cause} }}"),
    ];
    let told = recorder.take();
    assert_eq!(told.len(), expected.len());
    for (told, expected) in told.into_iter().zip(expected) {
        assert_eq!(told.event, expected);
        assert_eq!(told.method.unwrap(), "PUT");
        assert_eq!(told.authority.unwrap(), api.addr().to_string());
        assert_eq!(told.endpoint, Some(&ENDPOINT));
    }
}

#[tokio::test]
async fn every_attempt_has_the_same_head_and_further_ones_a_number() {
    for client in [http1(), http2()] {
        let script = Script::new().route("/", [Reply::status(503), Reply::reset(), Reply::ok("")]);
        let api = FlakyApi::start(script).await;
        let number = HeaderName::from_static("x-attempt");
        let mut request = put(api.url("/?page=2"));
        for value in ["one", "two"] {
            let value = value.parse().unwrap();
            request.headers_mut().append("tag", value);
        }
        let layer = retry().attempt_header(number.clone());
        let response = layer.layer(client).oneshot(request).await.unwrap();
        assert_eq!(info(&response), (3, None));

        for (request, expected) in api.requests().iter().zip([None, Some("2"), Some("3")]) {
            let headers = request.headers();
            let value = headers.get(&number).map(|value| value.to_str().unwrap());
            assert_eq!(value, expected);
            assert!(headers.get_all("tag").iter().eq(["one", "two"]));
            assert_eq!(headers[header::CONTENT_LENGTH], "8");
            assert_eq!(request.uri().query(), Some("page=2"));
        }
    }
}

#[tokio::test]
async fn streams_of_one_connection_are_tried_again_each_by_itself() {
    let script = (0..32).fold(Script::new(), |script, number| {
        let plan = Plan::with(move |call| match (call.number(), number % 3) {
            (1, 0) => Reply::status(503).latency(MS),
            (1, 1) => Reply::reset(),
            _ => Reply::ok("hello"),
        });
        script.route(&format!("/{number}"), plan)
    });
    let api = FlakyApi::start(script).await;
    let client = retry().layer(http2());
    let mut calls = JoinSet::new();
    for number in 0..32 {
        let request = put(api.url(&format!("/{number}")));
        let call = client.clone().oneshot(request);
        calls.spawn(async move { (number, call.await.unwrap()) });
    }
    while let Some(call) = calls.join_next().await {
        let (number, response) = call.unwrap();
        let attempts = if number % 3 < 2 { 2 } else { 1 };
        assert_eq!(info(&response), (attempts, None), "{number}");
        assert_eq!(read(response).await.unwrap(), "hello");
    }
    let stats = api.stats();
    assert_eq!(stats.connections(), 1);
    assert_eq!(stats.requests(), 32 + 22);
    assert_eq!(stats.bodies_whole(), 32 + 22);
}

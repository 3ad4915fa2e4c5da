//! What the server writes down about requests.

use http::{Method, Request};
use http_body_util::Full;
use palisade_testkit::{FlakyApi, Received, Reply, Script};
use tokio::io::AsyncWriteExt;

use crate::client::{both, collect, http1, post, raw, read_until};

#[tokio::test]
async fn records_what_arrived() {
    let api = FlakyApi::start(Script::new().route("/", Reply::ok(""))).await;
    for (name, client) in both() {
        let request = Request::put(api.url("/?q=1"))
            .header("x-twice", "1")
            .header("x-twice", "2")
            .body(Full::from("payload"))
            .unwrap();
        client.request(request).await.unwrap();
        let received = api.requests().pop().unwrap();
        assert_eq!(received.method(), Method::PUT, "{name}");
        assert_eq!(received.path(), "/", "{name}");
        assert_eq!(received.uri().query(), Some("q=1"), "{name}");
        assert_eq!(received.headers()["content-length"], "7", "{name}");
        let twice = received.headers().get_all("x-twice");
        assert!(twice.iter().eq(["1", "2"]), "{name}");
        assert_eq!(received.body(), b"payload", "{name}");
        assert!(received.is_complete(), "{name}");
        assert!(received.trailers().is_none(), "{name}");
    }
    let stats = api.stats();
    assert_eq!((stats.bodies_whole(), stats.bodies_incomplete()), (2, 0));
    assert_eq!(stats.body_bytes(), 14);
}

#[tokio::test]
async fn reads_chunks_and_trailers() {
    let api = FlakyApi::start(Script::new().route("/", Reply::ok("hello"))).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n";
    let mut stream = raw(api.addr(), head).await;
    for chunk in ["3\r\nabc\r\n", "2\r\nde\r\n", "0\r\nx-sum: 5\r\n\r\n"] {
        stream.write_all(chunk.as_bytes()).await.unwrap();
    }
    read_until(&mut stream, "hello").await;
    let received = api.requests().pop().unwrap();
    assert_eq!(received.body(), b"abcde");
    assert_eq!(received.trailers().unwrap()["x-sum"], "5");
}

#[tokio::test]
async fn keeps_the_beginning_of_a_long_body() {
    let script = Script::new().route("/", Reply::ok("")).max_body(10);
    let api = FlakyApi::start(script).await;
    let body: Vec<u8> = (0..100_000_u32).map(|byte| byte as u8).collect();
    http1().request(post(api.url("/"), body)).await.unwrap();
    let received = api.requests().pop().unwrap();
    assert_eq!(received.body(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(received.body_len(), 100_000);
    assert!(received.is_complete());
    assert_eq!(api.stats().body_bytes(), 100_000);
}

#[tokio::test]
async fn keeps_the_first_requests() {
    let script = Script::new().route("/", Reply::ok("")).max_requests(2);
    let api = FlakyApi::start(script).await;
    let client = http1();
    for body in ["one", "two", "three"] {
        let response = client.request(post(api.url("/"), body)).await.unwrap();
        collect(response).await.unwrap();
    }
    let requests = api.requests();
    let bodies: Vec<_> = requests.iter().map(Received::body).collect();
    assert_eq!(bodies, [&b"one"[..], b"two"]);
    assert_eq!((api.stats().requests(), api.stats().body_bytes()), (3, 11));
}

#[tokio::test]
async fn a_body_may_break_off() {
    let api = FlakyApi::start(Script::new().route("/", Reply::ok(""))).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n";
    let stream = raw(api.addr(), &format!("{head}half.")).await;
    api.wait_for(|stats| stats.body_bytes() == 5).await;
    drop(stream);
    let stats = api.wait_for(|stats| stats.bodies_incomplete() == 1).await;
    assert_eq!((stats.bodies_whole(), stats.answered(200)), (0, 0));
    let received = api.requests().pop().unwrap();
    assert_eq!(received.body(), b"half.");
    assert!(!received.is_complete());
}

#[tokio::test]
async fn numbers_connections() {
    let api = FlakyApi::start(Script::new().route("/", Reply::ok("hello"))).await;
    let mut one = raw(api.addr(), "").await;
    api.wait_for(|stats| stats.connections() == 1).await;
    let mut two = raw(api.addr(), "").await;
    for stream in [&mut two, &mut one] {
        for _ in 0..2 {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            read_until(stream, "hello").await;
        }
    }
    let requests = api.requests();
    let connections: Vec<_> = requests.iter().map(Received::connection).collect();
    assert_eq!(connections, [2, 2, 1, 1]);
}

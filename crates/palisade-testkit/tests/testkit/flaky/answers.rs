//! Answers that arrive whole, however slowly.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, Version};
use http_body_util::BodyExt;
use palisade_testkit::{FlakyApi, PausedClock, Reply, Script};
use tokio::time::Instant;

use crate::client::{both, collect, fetch, get, http1, http2, raw, read_all, read_until};

const REQUEST: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

async fn start(reply: Reply) -> FlakyApi {
    FlakyApi::start(Script::new().route("/", reply)).await
}

#[tokio::test]
async fn sends_status_headers_and_body() {
    let reply = Reply::status(503)
        .header("retry-after", 7)
        .header("set-cookie", "a=1")
        .header("set-cookie", "b=2")
        .body("busy");
    let api = start(reply).await;
    for (name, client) in both() {
        let response = fetch(&client, api.url("/")).await.unwrap();
        assert_eq!(response.status(), 503, "{name}");
        assert_eq!(response.headers()["retry-after"], "7", "{name}");
        assert_eq!(response.headers()["content-length"], "4", "{name}");
        let cookies = response.headers().get_all("set-cookie");
        assert!(cookies.iter().eq(["a=1", "b=2"]), "{name}");
        assert_eq!(response.body(), "busy", "{name}");
    }
}

#[tokio::test]
async fn sends_no_body_where_none_may_be() {
    let script = Script::new()
        .route("/200", Reply::ok("hello").reset_after(2))
        .route("/204", Reply::status(204).body("hello"))
        .route("/304", Reply::status(304).body("hello"));
    let api = FlakyApi::start(script).await;
    for (name, client) in both() {
        for (method, path, status, length) in [
            (Method::HEAD, "/200", 200, Some("5")),
            (Method::GET, "/204", 204, None),
            (Method::GET, "/304", 304, None),
        ] {
            let mut request = get(api.url(path));
            *request.method_mut() = method;
            let response = collect(client.request(request).await.unwrap()).await.unwrap();
            assert_eq!(response.status(), status, "{name}");
            let sent = response.headers().get("content-length");
            assert_eq!(sent.map(|value| value.to_str().unwrap()), length, "{name} {path}");
            assert_eq!(response.body(), "", "{name}");
        }
    }
}

#[tokio::test]
async fn speaks_both_versions_on_one_port() {
    let api = start(Reply::ok("")).await;
    for (client, version) in [(http1(), Version::HTTP_11), (http2(), Version::HTTP_2)] {
        let response = fetch(&client, api.url("/")).await.unwrap();
        assert_eq!(response.version(), version);
        assert_eq!(api.requests().last().unwrap().version(), version);
    }
}

#[tokio::test]
async fn sends_no_length_when_chunked() {
    let api = start(Reply::ok("hello").chunked()).await;
    let mut stream = raw(api.addr(), REQUEST).await;
    let answer = read_until(&mut stream, "\r\n0\r\n\r\n").await;
    assert!(answer.contains("\r\ntransfer-encoding: chunked\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{answer}");

    let response = fetch(&http2(), api.url("/")).await.unwrap();
    assert!(!response.headers().contains_key("content-length"));
    assert_eq!(response.body(), "hello");
}

#[tokio::test]
async fn sends_trailers() {
    let api = start(Reply::ok("hello").trailers([("grpc-status", "0"), ("x-sum", "9")])).await;
    for (name, client) in both() {
        let mut request = get(api.url("/"));
        request.headers_mut().insert("te", "trailers".parse().unwrap());
        let response = client.request(request).await.unwrap();
        assert_eq!(response.headers()["trailer"], "grpc-status, x-sum", "{name}");
        let body = response.into_body().collect().await.unwrap();
        let expected: HeaderMap = [("grpc-status", "0"), ("x-sum", "9")]
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .into_iter()
            .collect();
        assert_eq!(body.trailers(), Some(&expected), "{name}");
        assert_eq!(body.to_bytes(), "hello", "{name}");
    }
}

#[tokio::test]
async fn takes_at_least_its_latency() {
    let (latency, jitter) = (Duration::from_millis(4), Duration::from_millis(2));
    let api = start(Reply::ok("hello").latency(latency).jitter(jitter)).await;
    for (name, client) in both() {
        let start = Instant::now();
        let response = fetch(&client, api.url("/")).await.unwrap();
        assert!(latency <= start.elapsed(), "{name}");
        assert_eq!(response.body(), "hello", "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn draws_the_same_jitter_for_the_same_seed() {
    let delays = async |seed| {
        let reply = Reply::ok("").jitter(Duration::from_secs(1));
        let api = FlakyApi::start(Script::new().seed(seed).route("/", reply)).await;
        let client = http1();
        let mut delays = Vec::new();
        for _ in 0..4 {
            // The only timer is that of the answer, so the paused clock jumps by just that much.
            let start = Instant::now();
            fetch(&client, api.url("/")).await.unwrap();
            delays.push(start.elapsed());
        }
        delays
    };
    let drawn = delays(1).await;
    assert_eq!(delays(1).await, drawn);
    assert_ne!(delays(2).await, drawn);
    assert!(drawn.iter().all(|delay| *delay <= Duration::from_millis(1_001)), "{drawn:?}");
}

#[tokio::test]
async fn sends_the_head_ahead_of_the_body() {
    // So late that what has arrived can only be the head.
    let api = start(Reply::ok("hello").late_body(Duration::from_secs(3_600))).await;
    let mut stream = raw(api.addr(), REQUEST).await;
    let head = read_until(&mut stream, "\r\n\r\n").await;
    assert!(head.contains("\r\ncontent-length: 5\r\n"), "{head}");
    for (_, client) in both() {
        assert_eq!(client.request(get(api.url("/"))).await.unwrap().status(), 200);
    }

    let late = Duration::from_millis(3);
    let api = start(Reply::ok("hello").late_body(late)).await;
    for (name, client) in both() {
        let start = Instant::now();
        let response = fetch(&client, api.url("/")).await.unwrap();
        assert!(late <= start.elapsed(), "{name}");
        assert_eq!(response.body(), "hello", "{name}");
    }
}

#[tokio::test]
async fn sends_the_body_in_pieces() {
    let api = start(Reply::ok("hello").slow_body(2, Duration::from_secs(3_600))).await;
    for (name, client) in both() {
        let mut body = client.request(get(api.url("/"))).await.unwrap().into_body();
        let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(piece, "he", "{name}");
    }

    let gap = Duration::from_millis(2);
    let api = start(Reply::ok("hello").slow_body(2, gap)).await;
    for (name, client) in both() {
        let start = Instant::now();
        let response = fetch(&client, api.url("/")).await.unwrap();
        assert!(2 * gap <= start.elapsed(), "{name}");
        assert_eq!(response.body(), "hello", "{name}");
    }
}

#[tokio::test]
async fn dates_answers_by_its_clock() {
    let clock = PausedClock::starting_at(SystemTime::UNIX_EPOCH);
    let script = Script::new()
        .clock(clock)
        .route("/", Reply::ok(""))
        .route("/dated", Reply::ok("").header("date", "yesterday"));
    let api = FlakyApi::start(script).await;
    let client = http1();
    let response = fetch(&client, api.url("/")).await.unwrap();
    let date = response.headers()["date"].to_str().unwrap();
    assert!(date.starts_with("Thu, 01 Jan 1970 00:"), "{date}");
    let response = fetch(&client, api.url("/dated")).await.unwrap();
    assert_eq!(response.headers()["date"], "yesterday");
}

#[tokio::test]
async fn closes_after_the_answer() {
    let api = start(Reply::ok("hello").close()).await;
    let mut stream = raw(api.addr(), REQUEST).await;
    let (answer, end) = read_all(&mut stream).await;
    end.unwrap();
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    drop(stream);

    for (_, client) in both() {
        for _ in 0..2 {
            assert_eq!(fetch(&client, api.url("/")).await.unwrap().body(), "hello");
            // Until then, the client might try the connection that is going away.
            api.wait_for(|stats| stats.open_connections() == 0).await;
        }
    }
    assert_eq!(api.stats().connections(), 5);
}

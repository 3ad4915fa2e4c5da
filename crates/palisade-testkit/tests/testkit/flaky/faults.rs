//! Answers that do not arrive whole, or at all.

use std::io::ErrorKind;

use palisade_testkit::{FlakyApi, Plan, Reply, Script};
use tokio::io::AsyncWriteExt;

use crate::client::{
    broken, cause, collect, fetch, get, http1, http2, is_reset, post, raw, read_all, reason,
};

const REQUEST: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

async fn start(reply: Reply) -> FlakyApi {
    FlakyApi::start(Script::new().route("/", reply)).await
}

#[tokio::test]
async fn truncates_the_body() {
    for (after, length, sent) in [(0, 5, ""), (2, 5, "he"), (5, 6, "hello"), (9, 10, "hello")] {
        let api = start(Reply::ok("hello").truncated(after)).await;
        let mut stream = raw(api.addr(), REQUEST).await;
        let (answer, end) = read_all(&mut stream).await;
        end.unwrap();
        assert!(answer.contains(&format!("\r\ncontent-length: {length}\r\n")), "{answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{sent}")), "{answer}");

        let response = http1().request(get(api.url("/"))).await.unwrap();
        let (bytes, error) = broken(response).await;
        assert_eq!(bytes, sent.as_bytes());
        assert!(!is_reset(&error), "{error:?}");

        let client = http2();
        let response = client.request(get(api.url("/"))).await.unwrap();
        let (bytes, error) = broken(response).await;
        assert!(sent.as_bytes().starts_with(&bytes));
        // RFC 9113, section 8.1.1: a length that is not that of the data is a stream error.
        assert_eq!(reason(&error), Some(h2::Reason::PROTOCOL_ERROR), "{error:?}");
        assert_eq!(api.stats().connections(), 3);
        assert_eq!(api.stats().answered(200), 3);
    }
}

#[tokio::test]
async fn truncates_a_chunked_body() {
    let api = start(Reply::ok("hello").chunked().truncated(2)).await;
    let mut stream = raw(api.addr(), REQUEST).await;
    let (answer, end) = read_all(&mut stream).await;
    end.unwrap();
    assert!(answer.ends_with("\r\n\r\n2\r\nhe\r\n"), "{answer}");
}

#[tokio::test]
async fn resets_before_the_answer() {
    let api = FlakyApi::start(Script::new().route("/", [Reply::reset(), Reply::ok("hello")])).await;
    let mut stream = raw(api.addr(), REQUEST).await;
    let (answer, end) = read_all(&mut stream).await;
    assert_eq!(answer, "");
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    api.wait_for(|stats| stats.open_connections() == 0).await;
    assert_eq!(fetch(&http1(), api.url("/")).await.unwrap().body(), "hello");

    let api = start(Reply::reset()).await;
    let error = http1().request(post(api.url("/"), "data")).await.unwrap_err();
    assert!(is_reset(&error), "{error:?}");
    let stats = api.stats();
    assert_eq!((stats.requests(), stats.bodies_whole(), stats.answered(200)), (1, 1, 0));
}

#[tokio::test]
async fn resets_one_stream_of_http2() {
    let script = Script::new().route("/", [Reply::reset(), Reply::ok("hello")]);
    let api = FlakyApi::start(script).await;
    let client = http2();
    let error = client.request(get(api.url("/"))).await.unwrap_err();
    assert_eq!(reason(&error), Some(h2::Reason::INTERNAL_ERROR), "{error:?}");
    assert_eq!(fetch(&client, api.url("/")).await.unwrap().body(), "hello");
    assert_eq!(api.stats().connections(), 1);
}

#[tokio::test]
async fn resets_within_the_body() {
    for (after, sent) in [(0, ""), (2, "he"), (5, "hello")] {
        let api = start(Reply::ok("hello").reset_after(after)).await;
        let mut stream = raw(api.addr(), REQUEST).await;
        let (answer, end) = read_all(&mut stream).await;
        assert!(answer.ends_with(&format!("\r\n\r\n{sent}")), "{answer}");
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);

        let response = http1().request(get(api.url("/"))).await.unwrap();
        let (bytes, error) = broken(response).await;
        assert_eq!(bytes, sent.as_bytes());
        assert!(is_reset(&error), "{error:?}");

        let client = http2();
        let response = client.request(get(api.url("/"))).await.unwrap();
        let (bytes, error) = broken(response).await;
        assert_eq!(bytes, sent.as_bytes());
        assert_eq!(reason(&error), Some(h2::Reason::INTERNAL_ERROR), "{error:?}");
    }
}

#[tokio::test]
async fn delivers_a_long_body_up_to_the_cut() {
    let body = vec![b'x'; 100_000];
    for reply in
        [Reply::ok(body.clone()).truncated(60_000), Reply::ok(body.clone()).reset_after(60_000)]
    {
        let api = start(reply).await;
        for client in [http1(), http2()] {
            let response = client.request(get(api.url("/"))).await.unwrap();
            let (bytes, _) = broken(response).await;
            assert_eq!(bytes.len(), 60_000);
        }
    }
}

#[tokio::test]
async fn never_answers() {
    let api = start(Reply::never()).await;
    let mut call = Box::pin(http1().request(get(api.url("/"))));
    tokio::select! {
        biased;
        _ = api.wait_for(|stats| stats.in_flight() == 1) => {}
        answer = &mut call => panic!("{answer:?}"),
    }
    // A client that gives up takes its connection with it.
    drop(call);
    let stats = api.wait_for(|stats| stats.open_connections() == 0).await;
    assert_eq!((stats.requests(), stats.in_flight()), (1, 0));
}

#[tokio::test]
async fn never_answers_one_stream_of_http2() {
    let plan = Plan::sequence([Reply::never(), Reply::ok("hello")]);
    let api = FlakyApi::start(Script::new().route("/", plan)).await;
    let client = http2();
    let mut call = Box::pin(client.request(get(api.url("/"))));
    tokio::select! {
        biased;
        _ = api.wait_for(|stats| stats.in_flight() == 1) => {}
        answer = &mut call => panic!("{answer:?}"),
    }
    drop(call);
    api.wait_for(|stats| stats.in_flight() == 0).await;
    assert_eq!(fetch(&client, api.url("/")).await.unwrap().body(), "hello");
    assert_eq!(api.stats().connections(), 1);
}

#[tokio::test]
async fn answers_early() {
    let api = start(Reply::status(413).body("too long").early()).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n";
    // Without a byte of the body, with some of it, and instead of a `100 Continue`.
    for rest in ["\r\n", "\r\nsome", "expect: 100-continue\r\n\r\n"] {
        let mut stream = raw(api.addr(), &format!("{head}{rest}")).await;
        let (answer, end) = read_all(&mut stream).await;
        end.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\ntoo long"), "{answer}");
        // The connection is closed in one direction alone: the rest is taken and thrown away.
        stream.write_all(&[0; 1_000]).await.unwrap();
    }
    let stats = api.wait_for(|stats| stats.open_connections() == 0).await;
    assert_eq!((stats.bodies_incomplete(), stats.bodies_whole()), (3, 0));
    assert_eq!(stats.body_bytes(), 0);
}

#[tokio::test]
async fn answers_a_long_upload_early() {
    let api = start(Reply::status(413).body("too long").early()).await;
    for client in [http1(), http2()] {
        let request = post(api.url("/"), vec![0; 1 << 20]);
        let response = client.request(request).await.unwrap();
        assert_eq!(response.status(), 413);
        assert_eq!(collect(response).await.unwrap().body(), "too long");
    }
    assert_eq!(api.stats().bodies_incomplete(), 2);
}

#[tokio::test]
async fn a_reset_may_come_early() {
    let api = start(Reply::reset().early()).await;
    let error = http1().request(post(api.url("/"), "data")).await.unwrap_err();
    assert!(cause::<std::io::Error>(&error).is_some(), "{error:?}");
    assert_eq!(api.stats().bodies_incomplete(), 1);
}

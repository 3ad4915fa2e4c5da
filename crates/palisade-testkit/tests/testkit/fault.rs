use std::{
    io::{self, ErrorKind},
    sync::Arc,
    time::Duration,
};

use http_body_util::BodyExt;
use palisade_testkit::{FaultServer, Steps};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::client::{
    ClientError, broken, cause, collect, fetch, get, http1, http2, is_reset, post, raw, read_all,
    read_until, reason,
};

async fn failure(steps: Steps) -> ClientError {
    let server = FaultServer::start(move |_| steps.clone()).await;
    http1().request(get(server.url("/"))).await.unwrap_err()
}

async fn success(steps: Steps) -> http::Response<bytes::Bytes> {
    let server = FaultServer::start(move |_| steps.clone()).await;
    fetch(&http1(), server.url("/")).await.unwrap()
}

fn io_kind(error: &hyper::Error) -> Option<ErrorKind> {
    cause::<io::Error>(error).map(io::Error::kind)
}

fn hyper(error: &ClientError) -> &hyper::Error {
    cause(error).unwrap()
}

#[tokio::test]
async fn answers_properly() {
    let response = success(Steps::ok("hello")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.body(), "hello");
}

#[tokio::test]
async fn garbage_is_no_head() {
    assert!(hyper(&failure(Steps::garbage()).await).is_parse());
}

#[tokio::test]
async fn closes_or_resets_in_the_head() {
    assert!(hyper(&failure(Steps::half_head()).await).is_incomplete_message());
    assert!(is_reset(&failure(Steps::reset_in_head()).await));
}

#[tokio::test]
async fn closes_without_a_word() {
    let error = failure(Steps::new().read_head()).await;
    assert!(hyper(&error).is_incomplete_message());
}

#[tokio::test]
async fn sends_headers_without_end() {
    let error = failure(Steps::endless_headers()).await;
    assert!(hyper(&error).is_parse_too_large());
}

#[tokio::test]
async fn lies_about_the_length() {
    let server = FaultServer::start(|_| Steps::content_length_too_long()).await;
    let response = http1().request(get(server.url("/"))).await.unwrap();
    let (bytes, error) = broken(response).await;
    assert_eq!(bytes, b"hello");
    assert_eq!(io_kind(&error), Some(ErrorKind::UnexpectedEof), "{error:?}");

    let response = success(Steps::content_length_too_short()).await;
    assert_eq!(response.body(), "hello");
}

#[tokio::test]
async fn informs_before_it_answers() {
    let server = FaultServer::start(|_| Steps::informational()).await;
    let mut stream = raw(server.addr(), "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (answer, end) = read_all(&mut stream).await;
    end.unwrap();
    let heads = ["HTTP/1.1 100 ", "HTTP/1.1 103 ", "HTTP/1.1 200 "];
    let places = heads.map(|head| answer.find(head).unwrap());
    assert!(places.is_sorted());

    assert_eq!(success(Steps::informational()).await.body(), "hello");
}

#[tokio::test]
async fn breaks_the_chunked_coding() {
    let server = FaultServer::start(|_| Steps::bad_chunk()).await;
    let response = http1().request(get(server.url("/"))).await.unwrap();
    let (bytes, error) = broken(response).await;
    assert_eq!(bytes, b"hello");
    assert_eq!(io_kind(&error), Some(ErrorKind::InvalidInput), "{error:?}");
}

#[tokio::test]
async fn answers_before_it_is_asked() {
    let server = FaultServer::start(|_| Steps::unsolicited()).await;
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    let answer = read_until(&mut stream, "hello").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(server.stats().bytes_received(), 0);
}

#[tokio::test]
async fn answers_before_the_body() {
    let server = FaultServer::start(|_| Steps::answer_before_body()).await;
    let request = post(server.url("/"), vec![0; 8 << 20]);
    let response = http1().request(request).await.unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(collect(response).await.unwrap().body(), "hello");
    assert!(server.stats().bytes_received() < 8 << 20);
}

#[tokio::test]
async fn delimits_the_body_by_closing() {
    let response = success(Steps::close_delimited()).await;
    assert_eq!(response.version(), http::Version::HTTP_10);
    assert_eq!(response.body(), "hello");
}

#[tokio::test]
async fn goes_away_before_it_processed_anything() {
    let server = FaultServer::start(|_| Steps::h2_go_away_on_request()).await;
    let error = http2().request(get(server.url("/"))).await.unwrap_err();
    let error: &h2::Error = cause(&error).unwrap();
    assert!(error.is_go_away() && error.is_remote(), "{error:?}");
    assert_eq!(error.reason(), Some(h2::Reason::NO_ERROR));
}

#[tokio::test]
async fn goes_away_with_the_preface() {
    let server = FaultServer::start(|_| Steps::h2_go_away()).await;
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut frames = [0; 9 + 9 + 8];
    stream.read_exact(&mut frames).await.unwrap();
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let go_away = [0, 0, 8, 7, 0, 0, 0, 0, 0];
    assert_eq!(frames, *[&settings[..], &go_away, &[0; 8]].concat());

    let error = http2().request(get(server.url("/"))).await.unwrap_err();
    assert!(!error.is_connect(), "{error:?}");
}

#[tokio::test]
async fn refuses_every_stream_of_one_connection() {
    let server = FaultServer::start(|_| Steps::h2_refused_stream()).await;
    let client = http2();
    for _ in 0..3 {
        let error = client.request(get(server.url("/"))).await.unwrap_err();
        assert_eq!(reason(&error), Some(h2::Reason::REFUSED_STREAM), "{error:?}");
    }
    assert_eq!(server.stats().connections(), 1);
}

#[tokio::test]
async fn scripts_each_connection() {
    let server = FaultServer::start(|number| match number {
        1 => Steps::new().reset(),
        2 => Steps::half_head(),
        number => Steps::ok(number.to_string()),
    })
    .await;
    let client = http1();
    for _ in 0..2 {
        fetch(&client, server.url("/")).await.unwrap_err();
    }
    let response = fetch(&client, server.url("/")).await.unwrap();
    assert_eq!(response.body(), "3");
    assert_eq!(server.stats().connections(), 3);
}

#[tokio::test]
async fn takes_its_steps_in_order() {
    let server = FaultServer::start(|_| {
        Steps::new()
            .read_exact(3)
            .write("three;")
            .read_head()
            .write("head;")
            .read_until_idle(Duration::from_millis(2))
            .wait(Duration::from_millis(1))
            .write("idle;")
            .read_exact(1)
            .close()
            .write("never")
    })
    .await;
    let mut stream = raw(server.addr(), "abc").await;
    read_until(&mut stream, "three;").await;
    stream.write_all(b"GET\r\n\r\n").await.unwrap();
    read_until(&mut stream, "head;").await;
    stream.write_all(b"lots").await.unwrap();
    read_until(&mut stream, "idle;").await;
    stream.write_all(b"!?").await.unwrap();
    let (rest, end) = read_all(&mut stream).await;
    end.unwrap();
    assert_eq!(rest, "");
    drop(stream);
    let stats = server.wait_for(|stats| stats.open_connections() == 0).await;
    // Whether "lots" came before the line fell idle or is the byte waited for, it was read.
    assert_eq!(stats.bytes_received(), 3 + 7 + 4 + 2);
}

#[tokio::test]
async fn notices_that_the_client_closed() {
    let server = FaultServer::start(|_| Steps::new().read_to_end()).await;
    let stream = raw(server.addr(), "12345").await;
    let stats = server.wait_for(|stats| stats.bytes_received() == 5).await;
    assert_eq!((stats.connections(), stats.open_connections()), (1, 1));
    drop(stream);
    server.wait_for(|stats| stats.open_connections() == 0).await;
}

#[tokio::test]
async fn a_drop_closes_everything() {
    let held = Arc::new(());
    let script = Arc::clone(&held);
    let server = FaultServer::start(move |_| {
        let _held = &script;
        Steps::new().stall()
    })
    .await;
    let addr = server.addr();
    let mut stream = TcpStream::connect(addr).await.unwrap();
    server.wait_for(|stats| stats.open_connections() == 1).await;
    drop(server);
    read_all(&mut stream).await.1.unwrap();
    // The script goes with the listener.
    while Arc::strong_count(&held) != 1 {
        tokio::task::yield_now().await;
    }
    TcpStream::connect(addr).await.unwrap_err();
}

#[tokio::test]
async fn stops_when_asked() {
    let server = FaultServer::start(|_| Steps::new().stall()).await;
    let addr = server.addr();
    let mut stream = TcpStream::connect(addr).await.unwrap();
    server.wait_for(|stats| stats.open_connections() == 1).await;
    server.stop().await;
    TcpStream::connect(addr).await.unwrap_err();
    read_all(&mut stream).await.1.unwrap();
}

#[tokio::test]
async fn waits_on_paused_time() {
    tokio::time::pause();
    let hour = Duration::from_secs(3_600);
    let server = FaultServer::start(move |_| Steps::new().wait(hour).write("late").close()).await;
    let start = tokio::time::Instant::now();
    let response = http1().request(get(server.url("/"))).await;
    // The answer is no HTTP; what counts is that the hour has passed in no time.
    drop(response.map(|response| response.into_body().collect()));
    assert!(hour <= start.elapsed());
}

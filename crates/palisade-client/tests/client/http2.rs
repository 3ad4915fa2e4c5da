//! HTTP/2, frame by frame, from a server that ends streams and connections early.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{future::join_all, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use palisade_client::{Client, ClientBuilder, Error, HttpVersions, Kind};
use palisade_core::{BoxError, ErrorKind};
use palisade_metrics::Registry;
use palisade_rate_limit::ConcurrencyLimitLayer;
use palisade_retry::{Backoff, RetryLayer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};

// RFC 9113, sections 6 and 7.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
/// RFC 7541: a status of 200, and one with a `content-length` of 5.
const OK: &[u8] = b"\x88";
const OK_OF_FIVE: &[u8] = b"\x88\x0f\x0d\x015";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

fn go_away(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

fn whole(stream: u32, body: &str) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS, stream, OK);
    [head, frame(DATA, END_STREAM, stream, body.as_bytes())].concat()
}

/// A connection, at its server.
struct Connection {
    stream: TcpStream,
    bodies: HashMap<u32, Vec<u8>>,
}

impl Connection {
    async fn accept(listener: &TcpListener) -> Self {
        let (mut stream, _) = listener.accept().await.unwrap();
        // Paused time does not wait for what the system holds back.
        stream.set_nodelay(true).unwrap();
        stream.read_exact(&mut [0; 24]).await.unwrap();
        let mut connection = Self { stream, bodies: HashMap::new() };
        connection.send(frame(SETTINGS, 0, 0, &[])).await;
        connection
    }

    /// The stream of the next request that begins.
    async fn head(&mut self) -> Option<u32> {
        loop {
            let (kind, _, stream, _) = self.receive().await?;
            if kind == HEADERS {
                return Some(stream);
            }
        }
    }

    /// The next request that is there as a whole: its stream and its body.
    async fn request(&mut self) -> Option<(u32, String)> {
        loop {
            let (kind, flags, stream, payload) = self.receive().await?;
            if matches!(kind, HEADERS | DATA) {
                let body = self.bodies.entry(stream).or_default();
                body.extend(payload.iter().filter(|_| kind == DATA));
                if flags & END_STREAM != 0 {
                    let body = self.bodies.remove(&stream)?;
                    return Some((stream, String::from_utf8(body).unwrap()));
                }
            }
        }
    }

    async fn receive(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.stream.read_exact(&mut payload).await.ok()?;
        if kind == SETTINGS && flags & ACK == 0 {
            self.send(frame(SETTINGS, ACK, 0, &[])).await;
        }
        Some((kind, flags, u32::from_be_bytes(stream), payload))
    }

    async fn send(&mut self, frames: Vec<u8>) {
        // The client may be gone, which is its right.
        let _ = self.stream.write_all(&frames).await;
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    (listener, url)
}

fn client() -> ClientBuilder {
    let retry = RetryLayer::http().backoff(Backoff::constant(Duration::from_millis(1)));
    Client::builder().no_proxy().http_versions(HttpVersions::Http2).retry(retry)
}

#[tokio::test]
async fn what_a_goaway_leaves_out_is_sent_again_and_nothing_else() {
    let (listener, url) = listen().await;
    let done = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&done);
    let server = tokio::spawn(async move {
        let mut leaving = Connection::accept(&listener).await;
        let mut taken = Vec::new();
        for _ in 0..4 {
            taken.push(leaving.request().await.unwrap());
        }
        taken.sort();
        leaving.send(go_away(taken[1].0, NO_ERROR)).await;
        for (stream, body) in taken.drain(..2) {
            leaving.send(whole(stream, "old")).await;
            seen.lock().unwrap().push(body);
        }
        let mut next = Connection::accept(&listener).await;
        while let Some((stream, body)) = next.request().await {
            next.send(whole(stream, "new")).await;
            seen.lock().unwrap().push(body);
        }
    });
    let limit = ConcurrencyLimitLayer::new(4);
    let (limiter, registry) = (limit.handle(), Registry::new());
    let client = client().concurrency_limit(limit).metrics(&registry).build().unwrap();
    let calls = (0..4).map(|id| {
        let request = client.post(url.clone()).body(format!("{id}"));
        async { request.send().await.unwrap().text().await.unwrap() }
    });
    let mut answers = join_all(calls).await;
    answers.sort();
    assert_eq!(answers, ["new", "new", "old", "old"]);
    let mut done = done.lock().unwrap().clone();
    done.sort();
    assert_eq!(done, ["0", "1", "2", "3"]);
    assert_eq!(limiter.snapshot().in_flight, 0);
    let attempts = registry.snapshot().attempts;
    let counts = (attempts.status(200), attempts.errors(ErrorKind::Closed), attempts.in_flight());
    assert_eq!(counts, (4, 2, 0));
    server.abort();
}

/// What is read of an answer of these frames, and what in flight is left of it.
async fn read(answer: impl Fn(u32) -> Vec<u8> + Send + 'static) -> Result<String, Kind> {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let mut connection = Connection::accept(&listener).await;
        while let Some(stream) = connection.head().await {
            connection.send(answer(stream)).await;
        }
    });
    let limit = ConcurrencyLimitLayer::new(1);
    let (limiter, registry) = (limit.handle(), Registry::new());
    let client = client().concurrency_limit(limit).metrics(&registry).build().unwrap();
    let endless =
        stream::repeat_with(|| Ok::<_, BoxError>(Frame::data(Bytes::from_static(&[0; 4096]))));
    let response = client.post(url).stream(StreamBody::new(endless)).send().await.unwrap();
    let read = response.text().await;
    let attempts = registry.snapshot().attempts;
    assert_eq!(limiter.snapshot().in_flight, 0);
    assert_eq!((attempts.in_flight(), attempts.count()), (0, 1));
    assert_eq!(attempts.errors(ErrorKind::Body), u64::from(read.is_err()));
    server.abort();
    read.map_err(|error| error.kind())
}

// hyper takes NO_ERROR for a good end, wherever it comes.
#[tokio::test]
async fn a_body_that_breaks_off_is_an_error_whatever_the_code() {
    for code in [NO_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL] {
        for head in [OK, OK_OF_FIVE] {
            for end in [reset, |_, code| go_away(0, code)] {
                let read = read(move |stream| {
                    let head = frame(HEADERS, END_HEADERS, stream, head);
                    [head, frame(DATA, 0, stream, b"hel"), end(stream, code)].concat()
                });
                assert_eq!(read.await, Err(Kind::Body), "{code} {head:?}");
            }
        }
    }
}

// RFC 9113, section 8.1: so a server says that it needs no more of the request.
#[tokio::test]
async fn an_answer_that_is_whole_stays_so_if_its_stream_is_reset() {
    let empty = frame(HEADERS, END_HEADERS | END_STREAM, 1, OK);
    let with_trailers = [
        frame(HEADERS, END_HEADERS, 1, OK),
        frame(DATA, 0, 1, b"hello"),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x01x\x01y"),
    ];
    let answers = [(empty, ""), (whole(1, "hello"), "hello"), (with_trailers.concat(), "hello")];
    for end in [reset, go_away] {
        for (answer, text) in &answers {
            let frames = [&answer[..], &end(1, NO_ERROR)].concat();
            assert_eq!(read(move |_| frames.clone()).await.as_deref(), Ok(*text));
        }
    }
}

/// A server whose first connection answers once, and is dead from then on: nothing is read of
/// it, written or closed. How many others there were.
async fn dies_after_one_answer() -> (String, Arc<AtomicUsize>) {
    let (listener, url) = listen().await;
    let others = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&others);
    tokio::spawn(async move {
        let mut dead = Connection::accept(&listener).await;
        let (stream, _) = dead.request().await.unwrap();
        dead.send(whole(stream, "old")).await;
        loop {
            let mut next = Connection::accept(&listener).await;
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                while let Some((stream, _)) = next.request().await {
                    next.send(whole(stream, "new")).await;
                }
            });
        }
    });
    (url, others)
}

async fn get(client: &Client, url: &str) -> Result<String, Error> {
    client.get(url.to_owned()).send().await?.text().await
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_dead_is_left_for_another_one() {
    let second = Duration::from_secs(1);
    for (after, client) in [(10 * second, client()), (second, client().http2_keep_alive(second))] {
        let (url, others) = dies_after_one_answer().await;
        let client = client.build().unwrap();
        assert_eq!(get(&client, &url).await.unwrap(), "old");
        let start = Instant::now();
        let answers = join_all((0..3).map(|_| get(&client, &url))).await;
        let answers = answers.into_iter().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(answers, ["new"; 3]);
        // All have found it dead, and share the next one.
        assert_eq!(others.load(Ordering::Relaxed), 1);
        let taken = start.elapsed();
        assert!((after * 3 / 2..after * 2).contains(&taken), "{taken:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_died_while_nobody_used_it_is_found_sooner() {
    let (url, _) = dies_after_one_answer().await;
    let client = client().build().unwrap();
    assert_eq!(get(&client, &url).await.unwrap(), "old");
    tokio::time::advance(Duration::from_secs(60)).await;
    let start = Instant::now();
    assert_eq!(get(&client, &url).await.unwrap(), "new");
    let taken = start.elapsed();
    assert!(taken < Duration::from_secs(6), "{taken:?}");
}

#[tokio::test(start_paused = true)]
async fn who_is_sent_no_pings_is_waited_for() {
    let (url, others) = dies_after_one_answer().await;
    let client = client().http2_keep_alive(None).build().unwrap();
    assert_eq!(get(&client, &url).await.unwrap(), "old");
    assert!(get(&client, &url).await.unwrap_err().is_timeout());
    assert_eq!(others.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_may_not_be_repeated_fails_with_its_connection() {
    let (url, others) = dies_after_one_answer().await;
    let client = client().build().unwrap();
    assert_eq!(get(&client, &url).await.unwrap(), "old");
    let start = Instant::now();
    assert!(client.post(url).send().await.unwrap_err().is_timeout());
    assert!(start.elapsed() < Duration::from_secs(20));
    assert_eq!(others.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_breaks_off_with_its_connection() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let mut dead = Connection::accept(&listener).await;
        let stream = dead.head().await.unwrap();
        let head = frame(HEADERS, END_HEADERS, stream, OK);
        dead.send([head, frame(DATA, 0, stream, b"hel")].concat()).await;
        std::future::pending::<()>().await;
    });
    let client = client().build().unwrap();
    let start = Instant::now();
    let response = client.get(url).send().await.unwrap();
    let error = response.text().await.unwrap_err();
    assert_eq!((error.kind(), error.service_kind()), (Kind::Body, Some(ErrorKind::Closed)));
    assert!(start.elapsed() < Duration::from_secs(20));
    server.abort();
}

// A server that takes its time answers pings, and is left in peace with none in between.
#[tokio::test(start_paused = true)]
async fn who_is_slow_and_alive_is_waited_for_and_nobody_is_asked_for_nothing() {
    let (listener, url) = listen().await;
    let pings = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&pings);
    tokio::spawn(async move {
        let mut connection = Connection::accept(&listener).await;
        let mut waiting = None;
        while let Some((kind, flags, stream, payload)) = connection.receive().await {
            match kind {
                HEADERS => waiting = Some(stream),
                PING if flags & ACK == 0 => {
                    connection.send(frame(PING, ACK, 0, &payload)).await;
                    if counted.fetch_add(1, Ordering::Relaxed) == 1
                        && let Some(stream) = waiting.take()
                    {
                        connection.send(whole(stream, "late")).await;
                    }
                }
                _ => {}
            }
        }
    });
    let client = client().build().unwrap();
    assert_eq!(get(&client, &url).await.unwrap(), "late");
    tokio::time::advance(Duration::from_secs(80)).await;
    assert_eq!(pings.load(Ordering::Relaxed), 2);
}

//! How a failed response is got out of the way.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::{Body, Frame};
use http_body_util::Full;
use palisade_core::BoxError;
use palisade_retry::{Backoff, Jitter, RetryLayer};
use tokio::time::{Instant, Sleep, sleep};
use tower::{Layer, ServiceExt, service_fn};

use crate::upstream::{MS, request};

/// A body that ends after a while, and says whether it was read to its end.
struct Late {
    sleep: Pin<Box<Sleep>>,
    ended: bool,
    log: Arc<Mutex<Vec<bool>>>,
}

impl Body for Late {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.sleep.as_mut().poll(cx).map(|()| {
            self.ended = true;
            None
        })
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        self.log.lock().unwrap().push(self.ended);
    }
}

struct Case {
    /// When the body ends, in milliseconds after the head.
    late: u64,
    delay: u64,
    deadline: u64,
    drain: usize,
    version: Version,
    connection: Option<&'static str>,
}

const USUAL: Case = Case {
    late: 30,
    delay: 10,
    deadline: 10_000,
    drain: 100,
    version: Version::HTTP_11,
    connection: None,
};

/// When the second attempt began, in milliseconds, and whether the body of the
/// first response was read to its end.
async fn play(case: Case) -> (u128, bool) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let (started, second) = (Instant::now(), Arc::new(Mutex::new(Duration::ZERO)));
    let (calls, bodies, times) = (AtomicU32::new(0), Arc::clone(&log), Arc::clone(&second));
    let calls = Arc::new(calls);
    let service = service_fn(move |_: Request<Full<Bytes>>| {
        let first = calls.fetch_add(1, Ordering::Relaxed) == 0;
        *times.lock().unwrap() = started.elapsed();
        let body = Late {
            sleep: Box::pin(sleep(Duration::from_millis(case.late))),
            ended: false,
            log: Arc::clone(&bodies),
        };
        let mut response = Response::new(body);
        *response.version_mut() = case.version;
        if let Some(connection) = case.connection {
            let value = http::HeaderValue::from_static(connection);
            response.headers_mut().insert("connection", value);
        }
        if first {
            *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        }
        async { Ok::<_, BoxError>(response) }
    });
    let backoff = Backoff::constant(Duration::from_millis(case.delay)).jitter(Jitter::None);
    let layer = RetryLayer::http()
        .attempts(2)
        .backoff(backoff)
        .deadline(Duration::from_millis(case.deadline))
        .drain(case.drain);
    let response = layer.layer(service).oneshot(request("GET")).await.unwrap();
    let read = log.lock().unwrap()[0];
    drop(response);
    let second = second.lock().unwrap().as_millis();
    (second, read)
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_during_the_wait_makes_it_no_longer() {
    let case = Case { late: 5, ..USUAL };
    assert_eq!(play(case).await, (10, true));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_soon_after_is_waited_for() {
    assert_eq!(play(USUAL).await, (30, true));
    let case = Case { delay: 0, ..USUAL };
    assert_eq!(play(case).await, (30, true));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_later_is_given_up() {
    let case = Case { late: 500, ..USUAL };
    assert_eq!(play(case).await, (60, false));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_kept() {
    let case = Case { late: 500, deadline: 25, ..USUAL };
    assert_eq!(play(case).await, (24, false));
}

#[tokio::test(start_paused = true)]
async fn the_time_counts_from_when_it_is_due_and_not_from_the_poll() {
    // The task is busy elsewhere when the next attempt is due.
    let case = Case { late: 500, delay: 10, ..USUAL };
    let call = play(case);
    tokio::pin!(call);
    let _ = tokio::time::timeout(5 * MS, &mut call).await;
    tokio::time::advance(40 * MS).await;
    assert_eq!(call.await, (60, false));
}

#[tokio::test(start_paused = true)]
async fn what_saves_no_connection_is_not_read() {
    for case in [
        Case { drain: 0, ..USUAL },
        Case { version: Version::HTTP_2, ..USUAL },
        Case { version: Version::HTTP_10, ..USUAL },
        Case { connection: Some("Keep-Alive, Close"), ..USUAL },
    ] {
        let name = format!("{} {:?} {:?}", case.drain, case.version, case.connection);
        assert_eq!(play(case).await, (10, false), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_long_is_read_no_further_than_the_cap() {
    let pulled = Arc::new(AtomicU32::new(0));
    struct Endless(Arc<AtomicU32>);
    impl Body for Endless {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 10])))))
        }
    }
    let counter = Arc::clone(&pulled);
    let service = service_fn(move |_: Request<Full<Bytes>>| {
        let response = Response::builder().status(503).body(Endless(Arc::clone(&counter)));
        async { response.map_err(BoxError::from) }
    });
    let client =
        RetryLayer::http().attempts(2).backoff(Backoff::constant(MS)).drain(95).layer(service);
    client.oneshot(request("GET")).await.unwrap();
    assert!((10..=11).contains(&pulled.load(Ordering::Relaxed)), "{pulled:?}");
}

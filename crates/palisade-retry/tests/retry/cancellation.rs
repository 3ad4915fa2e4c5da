use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::Full;
use palisade_core::BoxError;
use palisade_retry::{Backoff, Jitter, RetryInfo, RetryLayer, Stop, Unlimited, WhenUnready};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::upstream::{MS, SECOND, Upstream, request, status};

/// A body that counts the living, and has always more to say.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(living: &Arc<AtomicUsize>) -> Self {
        living.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(living))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 1024])))))
    }
}

fn failing(
    living: &Arc<AtomicUsize>,
) -> impl use<>
+ Service<Request<Full<Bytes>>, Response = Response<Counted>, Error = BoxError, Future: Send>
+ Clone {
    let living = Arc::clone(living);
    service_fn(move |_: Request<Full<Bytes>>| {
        let response = Response::builder().status(503).body(Counted::new(&living)).unwrap();
        async { Ok(response) }
    })
}

// The response of a failed attempt must not hold its connection during the wait.
#[tokio::test(start_paused = true)]
async fn the_failed_response_is_gone_during_the_wait() {
    let living = Arc::new(AtomicUsize::new(0));
    for drain in [0, 4096] {
        let client = RetryLayer::http()
            .drain(drain)
            .backoff(Backoff::constant(SECOND).jitter(Jitter::None))
            .layer(failing(&living));
        let call = client.oneshot(request("GET"));
        tokio::pin!(call);
        assert!(tokio::time::timeout(500 * MS, &mut call).await.is_err());
        assert_eq!(living.load(Ordering::Relaxed), 0, "{drain}");
    }
}

// However long the body of an error is, the wait is as long as it should be.
#[tokio::test(start_paused = true)]
async fn an_endless_body_does_not_make_the_wait_longer() {
    let living = Arc::new(AtomicUsize::new(0));
    let client = RetryLayer::http()
        .drain(usize::MAX)
        .backoff(Backoff::constant(SECOND).jitter(Jitter::None))
        .layer(failing(&living));
    let start = tokio::time::Instant::now();
    // The clock does not advance by itself while the body keeps the task busy.
    let advance = async {
        loop {
            tokio::task::yield_now().await;
            tokio::time::advance(100 * MS).await;
        }
    };
    let response = tokio::select! {
        response = client.oneshot(request("GET")) => response.unwrap(),
        () = advance => unreachable!(),
    };
    assert_eq!(response.extensions().get().map(RetryInfo::attempts), Some(3));
    assert!(start.elapsed() < 3 * SECOND);
    drop(response);
    assert_eq!(living.load(Ordering::Relaxed), 0);
}

/// Fails with 503, and is ready only once unless told otherwise.
#[derive(Clone)]
struct Unready {
    inner: Upstream,
    ready: Arc<AtomicUsize>,
    fails: bool,
}

impl Service<Request<Full<Bytes>>> for Unready {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = <Upstream as Service<Request<Full<Bytes>>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.ready.load(Ordering::Relaxed) == 0 {
            return match self.fails {
                true => Poll::Ready(Err("the service is gone".into())),
                false => Poll::Pending,
            };
        }
        self.ready.fetch_sub(1, Ordering::Relaxed);
        ready!(Service::<Request<Full<Bytes>>>::poll_ready(&mut self.inner, cx))?;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        self.inner.call(request)
    }
}

fn unready(fails: bool) -> Unready {
    Unready { inner: Upstream::new([status(503)]), ready: Arc::new(AtomicUsize::new(1)), fails }
}

#[tokio::test(start_paused = true)]
async fn the_original_answer_can_be_returned_when_the_service_is_not_ready() {
    for fails in [false, true] {
        let inner = unready(fails);
        let client =
            RetryLayer::http().when_unready(WhenUnready::ReturnOriginal).layer(inner.clone());
        let response = client.oneshot(request("GET")).await.unwrap();
        let info: &RetryInfo = response.extensions().get().unwrap();
        assert_eq!((info.attempts(), info.stop()), (1, Some(Stop::NotReady)));
        use http_body_util::BodyExt;
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "it failed");
        assert_eq!(inner.inner.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn by_default_it_waits_for_the_service() {
    let inner = unready(false);
    let ready = Arc::clone(&inner.ready);
    let client = RetryLayer::http().layer(inner.clone());
    let call = client.oneshot(request("GET"));
    tokio::pin!(call);
    assert!(tokio::time::timeout(SECOND, &mut call).await.is_err());
    assert_eq!(inner.inner.count(), 1);
    ready.store(1, Ordering::Relaxed);
    // The mock keeps no waker, so the future is polled by hand.
    let response = poll_fn(|cx| call.as_mut().poll(cx)).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(inner.inner.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_readiness_is_returned() {
    let client = RetryLayer::http().layer(unready(true));
    let error = client.oneshot(request("GET")).await.unwrap_err();
    assert_eq!(error.to_string(), "the service is gone");
}

#[tokio::test(start_paused = true)]
async fn after_an_error_the_service_is_waited_for_until_the_deadline() {
    let mut inner = unready(false);
    inner.inner = Upstream::new([crate::upstream::error(std::io::ErrorKind::ConnectionReset)]);
    let client = RetryLayer::http().deadline(SECOND).layer(inner.clone());
    let start = tokio::time::Instant::now();
    let error = client.oneshot(request("GET")).await.unwrap_err();
    assert!(error.is::<std::io::Error>());
    assert_eq!(start.elapsed(), SECOND);
    assert_eq!(inner.inner.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn attempts_without_a_delay_let_others_run() {
    let upstream = Upstream::new((0..10_000).map(|_| status(503)));
    let client = RetryLayer::http()
        .attempts(10_000)
        .backoff(Backoff::constant(Duration::ZERO))
        .budget(Unlimited)
        .layer(upstream.clone());
    let call = client.oneshot(request("GET"));
    tokio::pin!(call);
    // As a timeout would, between two polls.
    tokio::select! {
        biased;
        _ = &mut call => panic!("all attempts were made in one poll"),
        () = std::future::ready(()) => {}
    }
    assert!(upstream.count() < 100, "{}", upstream.count());
    assert_eq!(call.await.unwrap().extensions().get().map(RetryInfo::attempts), Some(10_000));
}

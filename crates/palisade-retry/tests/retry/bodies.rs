use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use palisade_body::ReplayBody;
use palisade_core::BoxError;
use palisade_retry::{RetryInfo, RetryLayer, Stop};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::upstream::{Answer, Upstream, error, request, status};

/// A body in memory that counts its clones.
struct CountsClones(Arc<AtomicUsize>, Full<Bytes>);

impl Clone for CountsClones {
    fn clone(&self) -> Self {
        self.0.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0), self.1.clone())
    }
}

impl Body for CountsClones {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.1).poll_frame(cx).map_err(|never| match never {})
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_is_cloned_for_what_may_follow() {
    for (attempts, clones) in [(1, 0), (2, 2), (3, 3)] {
        let counted = Arc::new(AtomicUsize::new(0));
        let upstream = Upstream::new((0..3).map(|_| status(503)));
        let client = RetryLayer::http().attempts(attempts).layer(upstream.clone());
        let body = CountsClones(Arc::clone(&counted), Full::from("x"));
        client.oneshot(request("PUT").map(|_| body)).await.unwrap();
        assert_eq!(upstream.count(), attempts as usize);
        assert_eq!(counted.load(Ordering::Relaxed), clones, "{attempts} attempts");
    }
}

/// A body that streams, and does not clone.
struct Stream(VecDeque<Result<Bytes, BoxError>>);

fn stream(chunks: &[&'static str]) -> Stream {
    Stream(chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))).collect())
}

impl Body for Stream {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.get_mut().0.pop_front().map(|chunk| chunk.map(Frame::data)))
    }
}

fn put(body: Stream) -> Request<Stream> {
    request("PUT").map(|_| body)
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_sent_again_as_it_was() {
    let upstream = Upstream::new([status(503), error(io::ErrorKind::ConnectionReset)]);
    let client = RetryLayer::http().replay(100).layer(upstream.clone());
    let response = client.oneshot(put(stream(&["some", " ", "text"]))).await.unwrap();
    assert_eq!(response.status(), 200);
    let seen = upstream.take();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|seen| seen.body == "some text"));
}

/// Reads so many frames of each request, and then fails, keeping the body.
fn breaks_off(
    frames: impl IntoIterator<Item = usize>,
    answered: bool,
) -> (
    impl Service<
        Request<ReplayBody<Stream>>,
        Response = Response<Full<Bytes>>,
        Error = BoxError,
        Future: Send,
    > + Clone,
    Upstream,
) {
    let frames: Arc<std::sync::Mutex<VecDeque<_>>> =
        Arc::new(std::sync::Mutex::new(frames.into_iter().collect()));
    let kept = Arc::new(std::sync::Mutex::new(Vec::new()));
    let upstream = Upstream::new([]);
    let inner = upstream.clone();
    let service = service_fn(move |mut request: Request<ReplayBody<Stream>>| {
        let frames = frames.lock().unwrap().pop_front();
        let (kept, inner) = (Arc::clone(&kept), inner.clone());
        async move {
            let Some(frames) = frames else {
                return inner.oneshot(request).await;
            };
            for _ in 0..frames {
                let _ = request.body_mut().frame().await;
            }
            // A connection's task may hold the body for longer than the call.
            kept.lock().unwrap().push(request);
            match answered {
                true => Ok(Response::builder().status(503).body(Full::default()).unwrap()),
                false => Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
            }
        }
    });
    (service, upstream)
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_breaks_off_is_taken_up_where_it_was() {
    // linkerd/linkerd2 #15649: a retry before the first read sent the first chunk twice.
    for first in 0..=4 {
        for second in 0..=4 {
            let (service, upstream) = breaks_off([first, second], false);
            let client = RetryLayer::http().replay(100).layer(service);
            let response = client.oneshot(put(stream(&["ab", "cd", "ef"]))).await.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(upstream.take()[0].body, "abcdef", "{first} {second}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_before_the_end_of_the_upload_stands() {
    let (service, upstream) = breaks_off([1], true);
    let client = RetryLayer::http().replay(100).layer(service);
    let response = client.oneshot(put(stream(&["ab", "cd"]))).await.unwrap();
    assert_eq!(response.status(), 503);
    let info: &RetryInfo = response.extensions().get().unwrap();
    assert_eq!((info.attempts(), info.stop()), (1, Some(Stop::BodyUnsent)));
    assert_eq!(upstream.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_over_the_cap_is_sent_once() {
    for (cap, attempts, stop) in [(3, 1, Some(Stop::BodyTooLarge)), (4, 2, None), (5, 2, None)] {
        let upstream = Upstream::new([status(503)]);
        let client = RetryLayer::http().replay(cap).layer(upstream.clone());
        let response = client.oneshot(put(stream(&["ab", "cd"]))).await.unwrap();
        assert_eq!(response.extensions().get().and_then(RetryInfo::stop), stop, "{cap}");
        let seen = upstream.take();
        assert_eq!(seen.len(), attempts, "{cap}");
        assert!(seen.iter().all(|seen| seen.body == "abcd"), "{cap}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_fails_is_not_sent_again() {
    let upstream = Upstream::new([Answer::Hang]);
    let client = RetryLayer::http().replay(100).layer(service_fn(
        move |request: Request<ReplayBody<Stream>>| {
            let upstream = upstream.clone();
            // A client reports such a failure in its own words.
            async move {
                upstream
                    .oneshot(request)
                    .await
                    .map_err(|_| BoxError::from(io::Error::from(io::ErrorKind::ConnectionReset)))
            }
        },
    ));
    let mut body = stream(&["ab"]);
    body.0.push_back(Err("disk is gone".into()));
    let error = client.oneshot(put(body)).await.unwrap_err();
    assert!(error.is::<io::Error>());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_sent_once_is_not_recorded() {
    let upstream = Upstream::new([status(503)]);
    let client = RetryLayer::http().replay(100).attempts(1).layer(upstream.clone());
    let response = client.oneshot(put(stream(&["ab", "cd"]))).await.unwrap();
    assert!(response.extensions().is_empty());
    assert_eq!(upstream.take()[0].body, "abcd");
}

//! Code of others that panics: its request ends once, nothing stays in flight, and all goes on.

use std::{
    future::Future,
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use palisade_core::{Classify, ErrorKind, Outcome, Typed, classify_fn};
use palisade_metrics::{Registry, endpoint_fn};
use palisade_testkit::{Answer, Payload, ProbeError, ProbeHandle, ProbePlan, probe_request};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Api, Call, Frames, answers, data, pays, request};

/// Without the hook: it is no news for the log.
fn unwind() -> ! {
    resume_unwind(Box::new(()))
}

/// Polls once, and says whether that panicked.
fn panics<F: Future>(future: F) -> bool {
    let mut future = Box::pin(future);
    let mut cx = Context::from_waker(Waker::noop());
    let polled = catch_unwind(AssertUnwindSafe(|| drop(future.as_mut().poll(&mut cx))));
    // Dropped once it has panicked, as by tokio.
    polled.is_err()
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_service_ends_its_request() {
    for answer in [Answer::PanicsInCall, Answer::PanicsInPoll] {
        let api = Api::new(answers(answer));
        assert!(panics(api.client.clone().oneshot(probe_request(1))));
        api.check(None, Some(ErrorKind::Panic));
        assert_eq!(api.attempts().success_rate(), Some(0.0));
    }
    let api = Api::new(pays(Payload::Panics));
    let response = api.client.clone().oneshot(probe_request(1)).await.unwrap();
    assert!(panics(response.into_body().collect()));
    api.check(Some(200), Some(ErrorKind::Panic));
}

// A request begins with its endpoint.
#[tokio::test(start_paused = true)]
async fn a_panic_of_an_endpoint_function_begins_nothing() {
    let api = Api::new(ProbePlan::default());
    let layer = api.metrics.attempts().endpoints(endpoint_fn(|_| unwind()));
    let client = layer.layer(api.probe.probe::<ProbeError, ()>());
    assert!(panics(client.oneshot(probe_request(1))));
    assert_eq!((api.attempts().count(), api.attempts().in_flight()), (0, 0));
    assert_eq!(api.probe.calls(), 0);
}

/// Knows the verdict, and panics over the kind.
#[derive(Clone)]
struct KnowsNoKind;

impl<B> Classify<Response<B>, ProbeError> for KnowsNoKind {
    fn classify(&self, _: Result<&Response<B>, &ProbeError>) -> Outcome {
        Outcome::Failed
    }

    fn kind(&self, _: &ProbeError) -> ErrorKind {
        unwind()
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_classifier_ends_its_request() {
    async fn check<C>(answer: Answer, classify: C)
    where
        C: Classify<Response<palisade_testkit::ProbeBody>, ProbeError> + Clone,
    {
        let api = Api::new(answers(answer));
        let layer = api.metrics.attempts::<Typed>();
        let client = layer.classify(classify).layer(api.probe.probe::<ProbeError, ()>());
        assert!(panics(client.oneshot(probe_request(1))));
        api.check(None, Some(ErrorKind::Panic));
        // The next one is as good as ever.
        api.probe.set(ProbePlan::default());
        api.client.clone().oneshot(probe_request(2)).await.unwrap();
        assert_eq!((api.attempts().count(), api.attempts().in_flight()), (2, 0));
    }
    for answer in [Answer::Responds, Answer::Fails] {
        check(answer, classify_fn(|_: Result<&Response<_>, &ProbeError>| unwind())).await;
    }
    check(Answer::Fails, KnowsNoKind).await;
}

/// Panics when it is asked whether it is at its end.
struct Undecided;

impl Body for Undecided {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        unwind()
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_body_that_is_asked_for_its_end_ends_its_request() {
    let metrics = Registry::new();
    let undecided = service_fn(|_: Call| async { io::Result::Ok(Response::new(Undecided)) });
    assert!(panics(metrics.attempts().layer(undecided).oneshot(request("GET", "/"))));
    let attempts = metrics.snapshot().attempts;
    assert_eq!((attempts.count(), attempts.errors(ErrorKind::Panic)), (1, 1));
    assert_eq!(attempts.in_flight(), 0);
}

/// Panics when it is dropped.
struct Fragile;

impl Drop for Fragile {
    fn drop(&mut self) {
        unwind()
    }
}

impl Body for Fragile {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(Some(data("one")))
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_drop_ends_its_request() {
    let metrics = Registry::new();
    let never = service_fn(|_: Call| {
        let fragile = Fragile;
        async move {
            std::future::pending::<()>().await;
            drop(fragile);
            io::Result::Ok(Response::new(Frames::new([])))
        }
    });
    let mut client = metrics.attempts().layer(never);
    let call = client.ready().await.unwrap().call(request("GET", "/"));
    assert!(catch_unwind(AssertUnwindSafe(|| drop(call))).is_err());
    assert_eq!(metrics.snapshot().attempts.errors(ErrorKind::Cancelled), 1);

    let fragile = service_fn(|_: Call| async { io::Result::Ok(Response::new(Fragile)) });
    let response = metrics.attempts().layer(fragile).oneshot(request("GET", "/")).await.unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(response))).is_err());
    let attempts = metrics.snapshot().attempts;
    assert_eq!((attempts.count(), attempts.in_flight(), attempts.status(200)), (2, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn threads_that_panic_leave_no_lock_behind() {
    let (metrics, probe) = (Registry::new(), ProbeHandle::new());
    probe.set(answers(Answer::PanicsInPoll));
    let client = metrics.calls().layer(probe.probe::<ProbeError, ()>());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(panics(client.clone().oneshot(probe_request(1)))));
        }
    });
    probe.set(ProbePlan::default());
    client.oneshot(probe_request(2)).await.unwrap();
    assert_eq!(metrics.snapshot().calls.errors(ErrorKind::Panic), 4);
}

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use opentelemetry::{
    Context as Telemetered,
    trace::{SpanId, TraceContextExt, Tracer},
};
use opentelemetry_sdk::trace::Sampler;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Call, Frames, Telemetry, request, response};

fn current() -> SpanId {
    Telemetered::map_current(|context| context.span().span_context().span_id())
}

fn get() -> Call {
    request("GET", "https://api.example/")
}

/// Writes down which span is current where.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(&'static str, SpanId)>>>);

impl Seen {
    fn look(&self, place: &'static str) {
        self.0.lock().unwrap().push((place, current()));
    }
}

struct Looks(Seen, u32);

impl Body for Looks {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.look("body");
        self.1 += 1;
        Poll::Ready((self.1 < 3).then(|| Ok(Frame::data(Bytes::new()))))
    }
}

#[tokio::test]
async fn the_span_is_current_while_something_works_on_the_request() {
    for sampler in [Sampler::AlwaysOn, Sampler::AlwaysOff] {
        let telemetry = Telemetry::sampled(sampler);
        let seen = Seen::default();
        let sees = seen.clone();
        let client = telemetry.layer().layer(service_fn(move |_: Call| {
            sees.look("call");
            let sees = sees.clone();
            async move {
                sees.look("first poll");
                tokio::task::yield_now().await;
                sees.look("second poll");
                Ok::<_, io::Error>(Response::new(Looks(sees, 0)))
            }
        }));
        let outside = current();
        let response = client.oneshot(get()).await.unwrap();
        assert_eq!(current(), outside);
        response.into_body().collect().await.unwrap();
        assert_eq!(current(), outside);

        let seen = seen.0.lock().unwrap();
        let places: Vec<_> = seen.iter().map(|(place, _)| *place).collect();
        assert_eq!(places, ["call", "first poll", "second poll", "body", "body", "body"]);
        assert_ne!(seen[0].1, outside);
        assert!(seen.iter().all(|(_, span)| *span == seen[0].1));
    }
}

#[tokio::test]
async fn the_span_is_a_child_of_the_one_that_is_current_at_the_call() {
    let telemetry = Telemetry::new();
    let tracer = telemetry.tracer();
    let mut client =
        telemetry.layer().layer(service_fn(async |_: Call| Ok::<_, io::Error>(response(200))));
    let (parent, future) = tracer
        .in_span("parent", |context| (context.span().span_context().clone(), client.call(get())));
    // Wherever it is polled.
    drop(future.await.unwrap());
    let spans = telemetry.spans();
    let span = spans.iter().find(|span| span.name == "GET").unwrap();
    assert_eq!(span.parent_span_id, parent.span_id());
    assert_eq!(span.span_context.trace_id(), parent.trace_id());
}

#[test]
fn nothing_is_left_after_a_panic() {
    let telemetry = Telemetry::new();
    let mut client = telemetry.layer().layer(service_fn(async |_: Call| {
        if true {
            panic!("the future panics");
        }
        Ok::<_, io::Error>(response(200))
    }));
    let outside = current();
    let mut future = Box::pin(client.call(get()));
    assert_eq!(current(), outside);
    let poll = || future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
    catch_unwind(AssertUnwindSafe(poll)).unwrap_err();
    assert_eq!(current(), outside);
}

#[test]
fn a_future_that_waits_is_not_current() {
    let telemetry = Telemetry::new();
    let mut client = telemetry.layer().layer(service_fn(async |_: Call| {
        std::future::pending::<io::Result<Response<Frames>>>().await
    }));
    let outside = current();
    let mut futures = [Box::pin(client.call(get())), Box::pin(client.call(get()))];
    for future in &mut futures {
        assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(current(), outside);
    }
    let [first, second] = futures;
    drop(first);
    drop(second);
    assert_eq!(current(), outside);
    assert_eq!(telemetry.spans().len(), 2);
}

#[tokio::test]
async fn nothing_is_told_where_telemetry_is_suppressed() {
    let telemetry = Telemetry::new();
    let layer = telemetry.layer().propagate(palisade_core::Origins::any());
    let client = layer.layer(service_fn(async |request: Call| {
        assert!(request.headers().is_empty());
        Ok::<_, io::Error>(response(200))
    }));
    let _suppressed = Telemetered::enter_telemetry_suppressed_scope();
    drop(client.oneshot(get()).await.unwrap());
    assert!(telemetry.spans().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_requests_has_one_span() {
    let telemetry = Telemetry::new();
    let client = telemetry.layer().layer(service_fn(async |_: Call| {
        let own = current();
        for _ in 0..5 {
            tokio::task::yield_now().await;
            assert_eq!(current(), own);
        }
        Ok::<_, io::Error>(response(200))
    }));
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                let response = client.oneshot(get()).await.unwrap();
                response.into_body().collect().await.unwrap();
                assert_eq!(current(), SpanId::INVALID);
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    let mut ids: Vec<_> =
        telemetry.spans().iter().map(|span| span.span_context.span_id().to_string()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 200);
}

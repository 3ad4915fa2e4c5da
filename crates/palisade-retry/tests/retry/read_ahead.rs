use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use palisade_core::{BoxError, ErrorKind, HttpClassify, find_cause};
use palisade_retry::{BodyLost, ReadAheadBody, ReadAheadLayer, RetryInfo, RetryLayer};
use palisade_testkit::contract;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::upstream::request;

type Step = Result<Frame<Bytes>, BoxError>;

/// A body of unknown length.
struct Steps(VecDeque<Step>);

impl Body for Steps {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Step>> {
        Poll::Ready(self.get_mut().0.pop_front())
    }
}

fn data(text: &'static str) -> Step {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

/// Answers with these bodies, one after the other.
fn bodies(
    bodies: impl IntoIterator<Item = Vec<Step>>,
) -> impl Service<Request<Full<Bytes>>, Response = Response<Steps>, Error = BoxError, Future: Send> + Clone
{
    let bodies: VecDeque<_> = bodies.into_iter().collect();
    let bodies = Arc::new(Mutex::new(bodies));
    service_fn(move |_: Request<Full<Bytes>>| {
        let body = bodies.lock().unwrap().pop_front().unwrap();
        async { Ok(Response::new(Steps(body.into()))) }
    })
}

async fn text(body: ReadAheadBody<Steps>) -> Result<Bytes, BoxError> {
    Ok(body.collect().await?.to_bytes())
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_retried() {
    let upstream = bodies([vec![data("ha"), Err("cut".into())], vec![data("wh"), data("ole")]]);
    let client = ServiceBuilder::new()
        .layer(RetryLayer::http())
        .layer(ReadAheadLayer::new(100))
        .service(upstream);
    let response = client.oneshot(request("GET")).await.unwrap();
    assert_eq!(response.extensions().get().map(RetryInfo::attempts), Some(2));
    assert_eq!(text(response.into_body()).await.unwrap(), "whole");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_for_a_post_is_an_error() {
    let upstream = bodies([vec![data("ha"), Err("cut".into())]]);
    let client = ServiceBuilder::new()
        .layer(RetryLayer::http())
        .layer(ReadAheadLayer::new(100))
        .service(upstream);
    let error = client.oneshot(request("POST")).await.unwrap_err();
    assert!(find_cause::<BodyLost>(&*error).is_some());
    assert_eq!(ErrorKind::of(&*error), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_was_answered_was_processed() {
    let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    let upstream = bodies([vec![data("ha"), Err(refused.into())]]);
    let client = ServiceBuilder::new()
        .layer(RetryLayer::http())
        .layer(ReadAheadLayer::new(100))
        .service(upstream);
    // The mock has no second answer, and would panic.
    let error = client.oneshot(request("POST")).await.unwrap_err();
    assert!(find_cause::<std::io::Error>(&*error).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_body_of_nothing_without_end_is_bounded() {
    let nothing = (0..1_000_000).map(|_| data("")).collect();
    let client = ReadAheadLayer::new(1024).layer(bodies([nothing]));
    let body = client.oneshot(request("GET")).await.unwrap().into_body();
    assert!(!body.is_end_stream(), "the rest is still to come");
}

#[tokio::test(start_paused = true)]
async fn keeps_the_contract() {
    contract!(ReadAheadLayer::new(1024)).allocations(7).check().await;
}

#[tokio::test(start_paused = true)]
async fn a_long_body_is_passed_on() {
    for (cap, fails) in [(3, false), (3, true), (4, true), (5, true), (6, false), (0, false)] {
        let mut steps = vec![data("1234"), data("56")];
        if fails {
            steps.push(Err("cut".into()));
        }
        let client = ReadAheadLayer::new(cap).layer(bodies([steps]));
        // What is longer than the cap is not read to its end.
        let result = client.oneshot(request("GET")).await;
        match result {
            Ok(response) => assert_eq!(text(response.into_body()).await.is_err(), fails, "{cap}"),
            Err(_) => assert!(fails && cap >= 6, "{cap}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn frames_and_hints_are_those_of_the_body() {
    let whole = Full::<Bytes>::from("123456");
    let client = ReadAheadLayer::new(100).layer(service_fn(move |_: Request<Full<Bytes>>| {
        let response = Response::new(whole.clone());
        async { Ok::<_, BoxError>(response) }
    }));
    let mut body = client.oneshot(request("GET")).await.unwrap().into_body();
    assert_eq!(body.size_hint().exact(), Some(6));
    assert!(!body.is_end_stream());
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "123456");
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(body.is_end_stream());
}

#[tokio::test(start_paused = true)]
async fn trailers_that_say_it_failed_are_retried() {
    let trailers = |status| {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static(status));
        Ok(Frame::trailers(trailers))
    };
    let upstream = bodies([vec![data("x"), trailers("14")], vec![data("x"), trailers("0")]]);
    let client = ServiceBuilder::new()
        .layer(RetryLayer::new(HttpClassify::new().grpc()))
        .layer(ReadAheadLayer::new(100))
        .service(upstream);
    let response = client.oneshot(request("GET")).await.unwrap();
    assert_eq!(response.extensions().get().map(RetryInfo::attempts), Some(2));
    let trailers = response.into_body().collect().await.unwrap().trailers().cloned().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
}

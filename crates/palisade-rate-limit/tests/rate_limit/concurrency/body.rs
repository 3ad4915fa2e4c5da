//! A permit is held until the body of the response has ended.

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full};
use palisade_rate_limit::{ConcurrencyLimitLayer, ConcurrencyLimiter, PermitBody, UntilHead, Wait};
use tower::{Layer, ServiceExt, service_fn};

use super::support::{Frames, data, get, trailers};

fn in_flight(handle: &ConcurrencyLimiter) -> usize {
    handle.snapshot().in_flight
}

/// A response with this body, through a layer; and the layer's handle.
async fn respond<B>(body: B) -> (Response<PermitBody<B>>, ConcurrencyLimiter)
where
    B: Body<Data = Bytes> + Send + 'static,
{
    let layer = ConcurrencyLimitLayer::new(1).wait(Wait::reject());
    let body = Arc::new(Mutex::new(Some(body)));
    let service = service_fn(move |_: Request<String>| {
        let body = body.lock().unwrap().take().unwrap();
        async { Ok::<_, Infallible>(Response::new(body)) }
    });
    (layer.layer(service).oneshot(get("/")).await.unwrap(), layer.handle())
}

#[tokio::test]
async fn a_permit_is_held_to_the_end_of_the_body() {
    let (response, handle) = respond(Frames::of([data("one"), data("two")])).await;
    let mut body = response.into_body();
    for _ in 0..2 {
        assert!(body.frame().await.unwrap().unwrap().is_data());
        assert_eq!(in_flight(&handle), 1);
    }
    assert!(body.frame().await.is_none());
    // And given back once, although the body is still there.
    assert_eq!(in_flight(&handle), 0);
    assert!(body.frame().await.is_none());
    drop(body);
    assert_eq!(in_flight(&handle), 0);
}

#[tokio::test]
async fn a_body_that_knows_its_end_gives_it_back_with_the_last_frame() {
    let (response, handle) = respond(Full::new(Bytes::from("hello"))).await;
    let mut body = response.into_body();
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(5), false));
    assert_eq!(in_flight(&handle), 1);
    assert!(body.frame().await.unwrap().unwrap().is_data());
    assert_eq!((in_flight(&handle), body.is_end_stream()), (0, true));
}

#[tokio::test]
async fn trailers_are_the_end_and_arrive() {
    let (response, handle) = respond(Frames::of([data("one"), trailers()])).await;
    let mut body = response.into_body();
    assert!(body.frame().await.unwrap().unwrap().is_data());
    let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(in_flight(&handle), 0);
}

#[tokio::test]
async fn an_error_of_the_body_is_an_end() {
    let reset = io::Error::from(io::ErrorKind::ConnectionReset);
    let (response, handle) = respond(Frames::of([data("one"), Err(reset)])).await;
    let mut body = response.into_body();
    assert!(body.frame().await.unwrap().is_ok());
    assert_eq!(in_flight(&handle), 1);
    assert!(body.frame().await.unwrap().is_err());
    assert_eq!(in_flight(&handle), 0);
}

#[tokio::test]
async fn a_body_that_is_dropped_is_an_end() {
    let (response, handle) = respond(Frames::of([data("one")])).await;
    let mut response = response;
    assert!(response.body_mut().frame().await.is_some());
    assert_eq!(in_flight(&handle), 1);
    drop(response);
    assert_eq!(in_flight(&handle), 0);
}

#[tokio::test]
async fn an_empty_body_holds_nothing() {
    for (method, status) in [(Method::HEAD, StatusCode::OK), (Method::GET, StatusCode::NO_CONTENT)]
    {
        let layer = ConcurrencyLimitLayer::new(1);
        let service = layer.layer(service_fn(|_: Request<String>| async move {
            let response = Response::builder().status(status);
            Ok::<_, Infallible>(response.body(Empty::<Bytes>::new()).unwrap())
        }));
        let mut request = get("/");
        *request.method_mut() = method;
        let response = service.oneshot(request).await.unwrap();
        assert!(response.body().is_end_stream());
        assert_eq!(in_flight(&layer.handle()), 0);
    }
}

#[tokio::test]
async fn a_permit_may_be_held_to_the_head_alone() {
    // What is no HTTP has neither head nor body.
    let layer = ConcurrencyLimitLayer::new(1).hold(UntilHead);
    let handle = layer.handle();
    let service = layer.layer(service_fn(move |number: u32| {
        let in_flight = in_flight(&handle);
        async move { Ok::<_, Infallible>((number, in_flight)) }
    }));
    for number in 0..3 {
        assert_eq!(service.clone().oneshot(number).await.unwrap(), (number, 1));
    }
    assert_eq!(in_flight(&layer.handle()), 0);
}

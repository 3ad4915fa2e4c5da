//! Layers around tonic's channels and servers.
//!
//! gRPC is posted over HTTP/2, answered with 200, and says by `grpc-status` how it went: in the
//! head, if there is nothing else, and behind the messages otherwise. So
//!
//! - who judges has to read that ([`HttpClassify::grpc`]), and does so in the head; what comes
//!   behind the messages is seen if a [`ReadAheadLayer`] has read them, which is for calls with one
//!   answer, and takes the stream from those with several.
//! - retries need to be told which methods may be repeated, for all are `POST`; and bodies do not
//!   clone ([`RetryLayer::replay`]).
//! - credentials, and breakers for each host, need the origin of the server in the request:
//!   `with_origin` of the generated client. A channel adds it below all layers.
//! - a token that is refused is `UNAUTHENTICATED` at status 200, which nobody takes for a 401: it is
//!   replaced in time, and not when it is refused.
//! - a cache has nothing to do. Nothing that is posted is stored, and no answer says for how long it
//!   is good. `CacheLayer` around a function that calls the client is of use.
//! - redirects, decompression and JSON are not of gRPC.

use std::{
    future::{pending, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Uri, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full};
use palisade_auth::{AuthLayer, Token, Tokens, token_fn};
use palisade_circuit_breaker::{Open, State};
use palisade_core::{BoxError, ByAuthority, ErrorKind, HttpClassify, Origins, Typed, find_cause};
use palisade_metrics::Registry;
use palisade_rate_limit::{ConcurrencyLimitLayer, Quota, RateLimitLayer, Wait, respond_fn};
use palisade_retry::{ByMethod, ReadAheadLayer, Repeatable, Requests, requests_fn};
use palisade_testkit::refused_addr;
use tokio::{net::TcpListener, task::JoinSet};
use tonic::{
    Code, Status,
    body::Body,
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_health::{
    pb::{HealthCheckRequest, health_client::HealthClient},
    server::health_reporter,
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};

use crate::support::{MS, breaker, retry};

type Boxed = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

fn boxed<S, B>(service: S) -> Boxed
where
    S: Service<
            Request<Body>,
            Response = Response<B>,
            Error: Into<BoxError>,
            Future: Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let service = service.map_response(|response: Response<B>| response.map(Body::new));
    Boxed::new(service.map_err(Into::into))
}

/// Serves it until the tasks are dropped.
async fn serve(service: Boxed) -> (Uri, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let incoming = TcpIncoming::from(listener);
        Server::builder().serve_with_incoming(service, incoming).await.unwrap();
    });
    (uri, tasks)
}

fn health() -> Boxed {
    boxed(health_reporter().1)
}

/// What answers so many calls with `UNAVAILABLE` before it works, and writes down the credentials.
fn flaky(failures: u64, told: &Arc<Mutex<Vec<Option<HeaderValue>>>>) -> Boxed {
    let (calls, told, health) = (Arc::new(AtomicU64::new(0)), Arc::clone(told), health());
    boxed(service_fn(move |request: Request<Body>| {
        told.lock().unwrap().push(request.headers().get(AUTHORIZATION).cloned());
        let (call, health) = (calls.fetch_add(1, Ordering::Relaxed), health.clone());
        async move {
            match call < failures {
                true => Ok(Status::unavailable("busy").into_http()),
                false => health.oneshot(request).await,
            }
        }
    }))
}

fn channel(uri: &Uri) -> Channel {
    Channel::builder(uri.clone()).connect_lazy()
}

/// Which of the methods may be repeated.
fn reads() -> impl Requests + Clone + Send + Sync + 'static {
    requests_fn(|head| match head.uri.path() {
        "/grpc.health.v1.Health/Check" => Repeatable::Always,
        _ => ByMethod.repeatable(head),
    })
}

async fn check(client: &HealthClient<Boxed>) -> Result<i32, Status> {
    let response = client.clone().check(HealthCheckRequest::default()).await?;
    Ok(response.into_inner().status)
}

const SERVING: i32 = 1;

#[tokio::test]
async fn all_layers_that_make_sense() {
    let told = Arc::default();
    let (uri, _tasks) = serve(flaky(2, &told)).await;
    let metrics = Registry::new();
    let (breaker, limit) = (breaker::<Typed>().keyed(ByAuthority), ConcurrencyLimitLayer::new(1));
    let breakers = breaker.breakers();
    let tokens = Tokens::new(token_fn(|_| ready(Token::bearer("s3cret").map_err(Into::into))));
    let stack = ServiceBuilder::new()
        .layer(metrics.calls::<Typed>().classify(HttpClassify::new().grpc()))
        .timeout(Duration::from_secs(60))
        .layer(
            retry::<Typed>().classify(HttpClassify::new().grpc()).requests(reads()).replay(1 << 16),
        )
        .layer(breaker.classify(HttpClassify::new().grpc()))
        .layer(RateLimitLayer::new(Quota::per_second(1000)))
        .layer(limit.clone())
        .layer(AuthLayer::new(tokens, Origins::new([uri.to_string()])).send_once())
        .layer(metrics.attempts::<Typed>().classify(HttpClassify::new().grpc()))
        .map_request(|request: Request<_>| request.map(Body::new))
        .service(channel(&uri));
    let stack = boxed(stack);
    let client = HealthClient::with_origin(stack.clone(), uri.clone());
    for _ in 0..3 {
        assert_eq!(check(&client).await.unwrap(), SERVING);
    }
    let snapshot = metrics.snapshot();
    assert_eq!((snapshot.calls.count(), snapshot.attempts.count()), (3, 5));
    assert_eq!(snapshot.attempts.outcomes().of("transient"), 2);
    assert_eq!(snapshot.calls.success_rate(), Some(1.0));
    assert_eq!(limit.handle().snapshot().in_flight, 0);
    let authority = uri.authority().map(ToString::to_string);
    assert_eq!(breakers.get(&authority).unwrap().state(), State::Closed);
    let all = std::mem::take(&mut *told.lock().unwrap());
    assert_eq!(all.len(), 5);
    assert!(all.iter().all(|told| told.as_ref().is_some_and(|told| told == "Bearer s3cret")));

    // Who does not say where the server is gets no credentials.
    assert_eq!(check(&HealthClient::new(stack)).await.unwrap(), SERVING);
    assert_eq!(*told.lock().unwrap(), [None]);
}

#[tokio::test]
async fn what_is_no_read_is_not_repeated() {
    let told = Arc::default();
    let (uri, _tasks) = serve(flaky(1, &told)).await;
    let layer = retry::<Typed>().classify(HttpClassify::new().grpc()).replay(1 << 16);
    let channel = channel(&uri).map_request(|request: Request<_>| request.map(Body::new));
    let client = HealthClient::with_origin(boxed(layer.layer(channel)), uri);
    assert_eq!(check(&client).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(check(&client).await.unwrap(), SERVING);
}

#[tokio::test]
async fn a_breaker_reads_the_status_of_the_call() {
    let told = Arc::default();
    let (uri, _tasks) = serve(flaky(u64::MAX, &told)).await;
    let layer = breaker::<Typed>();
    let handle = layer.handle();
    let stack = layer.classify(HttpClassify::new().grpc()).layer(channel(&uri));
    let client = HealthClient::with_origin(boxed(stack), uri);
    for _ in 0..3 {
        assert_eq!(handle.state(), State::Closed);
        assert_eq!(check(&client).await.unwrap_err().code(), Code::Unavailable);
    }
    let refused = check(&client).await.unwrap_err();
    assert!(find_cause::<Open>(&refused).is_some(), "{refused:?}");
    assert_eq!(ErrorKind::of(&refused), ErrorKind::Open);
    assert_eq!(told.lock().unwrap().len(), 3);
}

/// A status that comes behind a message.
fn late(code: Code) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(code as i32));
    let message = Full::new(Bytes::from_static(&[0; 5]));
    let body = message.with_trailers(ready(Some(Ok(trailers))));
    let response = Response::builder().header("content-type", "application/grpc");
    response.body(Body::new(body)).unwrap()
}

#[tokio::test]
async fn a_status_behind_messages_is_seen_if_they_are_read_ahead() {
    for (reads_ahead, expected) in [(false, 1), (true, 3)] {
        let calls = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&calls);
        let (uri, _tasks) = serve(boxed(service_fn(move |_: Request<Body>| {
            counted.fetch_add(1, Ordering::Relaxed);
            ready(Ok::<_, BoxError>(late(Code::Unavailable)))
        })))
        .await;
        let channel = channel(&uri).map_request(|request: Request<_>| request.map(Body::new));
        let channel = match reads_ahead {
            true => boxed(ReadAheadLayer::new(1 << 16).layer(channel)),
            false => boxed(channel),
        };
        let layer =
            retry::<Typed>().classify(HttpClassify::new().grpc()).requests(reads()).replay(1 << 16);
        let channel = channel.map_request(|request: Request<_>| request.map(Body::new));
        let client = HealthClient::with_origin(boxed(layer.layer(channel)), uri);
        assert_eq!(check(&client).await.unwrap_err().code(), Code::Unavailable);
        assert_eq!(calls.load(Ordering::Relaxed), expected);
    }
}

#[tokio::test]
async fn its_errors_are_understood() {
    let uri: Uri = format!("http://{}", refused_addr()).parse().unwrap();
    let metrics = Registry::new();
    let stack = ServiceBuilder::new()
        .layer(retry().replay(1 << 16))
        .layer(metrics.attempts())
        .map_request(|request: Request<_>| request.map(Body::new))
        .service(channel(&uri));
    let error = check(&HealthClient::with_origin(boxed(stack), uri)).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert_eq!(ErrorKind::of(&error), ErrorKind::Connect, "{error:?}");
    // Nothing was sent, so it may be repeated whatever it does.
    assert_eq!(metrics.snapshot().attempts.errors(ErrorKind::Connect), 3);

    let never = service_fn(|_: Request<Body>| pending::<Result<Response<Body>, BoxError>>());
    let (uri, tasks) = serve(boxed(never)).await;
    let stack = ServiceBuilder::new().timeout(20 * MS).service(channel(&uri));
    let error = check(&HealthClient::with_origin(boxed(stack), uri.clone())).await.unwrap_err();
    assert_eq!(ErrorKind::of(&error), ErrorKind::Timeout, "{error:?}");

    let client = HealthClient::with_origin(boxed(channel(&uri)), uri);
    let (error, ()) = tokio::join!(check(&client), async {
        drop(tasks);
    });
    let kind = ErrorKind::of(&error.unwrap_err());
    assert!([ErrorKind::Closed, ErrorKind::Connect].contains(&kind), "{kind}");
}

#[tokio::test]
async fn layers_of_a_server() {
    let metrics = Registry::new();
    let limit = ConcurrencyLimitLayer::new(1)
        .wait(Wait::reject())
        .on_refusal(respond_fn(|_| Status::unavailable("too many calls").into_http()));
    let rate = RateLimitLayer::new(Quota::per_hour(3).burst(3))
        .wait(Wait::reject())
        .on_refusal(respond_fn(|_| Status::resource_exhausted("too fast").into_http::<Body>()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri: Uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let mut tasks = JoinSet::new();
    let server = Server::builder()
        .layer(metrics.served::<Typed>().classify(HttpClassify::new().grpc()))
        .layer(limit.clone())
        .layer(rate);
    let incoming = TcpIncoming::from(listener);
    tasks.spawn(async move { server.serve_with_incoming(health_reporter().1, incoming).await });

    let client = HealthClient::with_origin(boxed(channel(&uri)), uri);
    assert_eq!(check(&client).await.unwrap(), SERVING);
    // A stream is in flight until it ends.
    let watch = client.clone().watch(HealthCheckRequest::default()).await.unwrap();
    let mut watch = watch.into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status, SERVING);
    assert_eq!(check(&client).await.unwrap_err().code(), Code::Unavailable);
    drop(watch);
    while limit.handle().snapshot().in_flight != 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(check(&client).await.unwrap(), SERVING);
    for _ in 0..2 {
        assert_eq!(check(&client).await.unwrap_err().code(), Code::ResourceExhausted);
    }
    let served = metrics.snapshot().served;
    assert_eq!((served.count(), served.in_flight()), (6, 0));
    let outcomes = served.outcomes();
    assert_eq!((outcomes.of("success"), outcomes.of("transient")), (3, 1));
    assert_eq!(outcomes.of("throttled"), 2);
}

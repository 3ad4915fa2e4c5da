//! Layers around `reqwest::Client`, whose requests and responses are its own: what it takes, and
//! what becomes of its errors.

use std::{future::ready, time::Duration};

use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full, channel::Channel};
use palisade_auth::{ApiKey, AuthLayer, Bearer, Token, Tokens, token_fn};
use palisade_cache::{HttpCacheLayer, MemoryStore};
use palisade_circuit_breaker::State;
use palisade_client::{Client, HttpService};
use palisade_core::{BoxError, Classify, ErrorKind, HttpClassify, Origins, Outcome};
use palisade_metrics::Registry;
use palisade_retry::Hints;
use palisade_testkit::{FaultServer, FlakyApi, Plan, Reply, Script, Steps, refused_addr};
use reqwest::redirect::Policy;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use crate::support::{MS, breaker, get, post, put, read, refusal, retry};

/// Follows no redirects by itself, and knows no proxies.
fn plain() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().redirect(Policy::none())
}

/// reqwest's client as a service for the types of `http`: what layers are put around.
fn over(
    client: reqwest::ClientBuilder,
) -> impl Service<
    Request<Full<Bytes>>,
    Response = Response<reqwest::Body>,
    Error = BoxError,
    Future: Send,
> + Clone
+ Send
+ Sync {
    ServiceBuilder::new()
        .map_response(Response::<reqwest::Body>::from)
        // A URI that is no URL of reqwest's is an error.
        .filter(|request: Request<Full<Bytes>>| {
            reqwest::Request::try_from(request.map(reqwest::Body::wrap))
        })
        .service(client.build().unwrap())
}

#[tokio::test]
async fn all_layers_around_it() {
    let known = |reply: Reply| {
        Plan::with(move |call| match call.headers().get(AUTHORIZATION) {
            Some(token) if token == "Bearer s3cret" => reply.clone(),
            _ => Reply::status(401),
        })
    };
    let kept = Reply::ok("hello").header("cache-control", "max-age=60");
    let script = Script::new()
        .route("/kept", known(kept))
        .route("/flaky", [Reply::status(503), Reply::reset(), Reply::ok("hello")])
        .route("/down", Reply::status(503));
    let api = FlakyApi::start(script).await;
    let (metrics, breaker) = (Registry::new(), breaker());
    let handle = breaker.handle();
    let tokens = Tokens::new(token_fn(|_| ready(Token::bearer("s3cret").map_err(Into::into))));
    let client = ServiceBuilder::new()
        .layer(metrics.calls())
        .layer(HttpCacheLayer::private(MemoryStore::new(1 << 20)))
        // An open breaker is nothing to wait for here.
        .layer(retry().hints(Hints::new().max(MS)))
        .layer(breaker)
        .layer(AuthLayer::new(tokens, Origins::new([format!("http://{}", api.addr())])))
        .layer(metrics.attempts())
        .service(over(plain()));
    for _ in 0..3 {
        let response = client.clone().oneshot(get(api.url("/kept"))).await.unwrap();
        assert_eq!(read(response).await.unwrap(), "hello");
    }
    let response = client.clone().oneshot(put(api.url("/flaky"))).await.unwrap();
    assert_eq!(read(response).await.unwrap(), "hello");
    assert_eq!(client.clone().oneshot(get(api.url("/down"))).await.unwrap().status(), 503);
    assert_eq!(handle.state(), State::Open);
    assert!(refusal(client.clone().oneshot(get(api.url("/kept-not"))).await).is_some());

    assert_eq!(api.requests().iter().filter(|put| put.body() == b"the body").count(), 3);
    let snapshot = metrics.snapshot();
    assert_eq!((snapshot.calls.count(), snapshot.attempts.count()), (6, 1 + 3 + 3));
    assert_eq!(snapshot.attempts.count(), api.stats().requests());
    assert_eq!(snapshot.attempts.errors(ErrorKind::Closed), 1);
    assert_eq!(snapshot.calls.received(), 4 * 5);
}

/// What reqwest says of a request, and what that comes to.
async fn verdict(
    client: reqwest::ClientBuilder,
    request: Request<Full<Bytes>>,
) -> (ErrorKind, Outcome) {
    let error = match over(client).oneshot(request).await {
        Ok(response) => response.into_body().collect().await.unwrap_err().into(),
        Err(error) => error,
    };
    let outcome = HttpClassify::new().classify(Err::<&Response<()>, _>(&error));
    (ErrorKind::of(&*error), outcome)
}

#[tokio::test]
async fn its_errors_are_understood() {
    let connect = (ErrorKind::Connect, Outcome::Unsent);
    let closed = (ErrorKind::Closed, Outcome::Transient);
    let timeout = (ErrorKind::Timeout, Outcome::Transient);

    let refused = format!("http://{}/", refused_addr()).parse().unwrap();
    assert_eq!(verdict(plain(), post(refused)).await, connect);
    let unknown = format!("http://{}.invalid/", "x".repeat(64)).parse().unwrap();
    assert_eq!(verdict(plain(), post(unknown)).await, (ErrorKind::Dns, Outcome::Unsent));

    let script = Script::new()
        .route("/never", Reply::never())
        .route("/reset", Reply::reset())
        .route("/stops", Reply::ok("hello").slow_body(1, Duration::from_secs(60)))
        .route("/short", Reply::ok("hello").truncated(2));
    let api = FlakyApi::start(script).await;
    let hasty = || plain().timeout(20 * MS);
    let idle = || plain().read_timeout(20 * MS);
    for (name, client, path, expected) in [
        ("total timeout", hasty(), "/never", timeout),
        ("total timeout, in the body", hasty(), "/stops", timeout),
        ("read timeout", idle(), "/never", timeout),
        ("read timeout, in the body", idle(), "/stops", timeout),
        ("reset", plain(), "/reset", closed),
        ("too short", plain(), "/short", closed),
    ] {
        assert_eq!(verdict(client, post(api.url(path))).await, expected, "{name}");
    }

    let garbage = FaultServer::start(|_| Steps::garbage()).await;
    let protocol = (ErrorKind::Protocol, Outcome::Failed);
    assert_eq!(verdict(plain(), post(garbage.url("/"))).await, protocol);

    // Nobody was asked.
    let relative = Request::post("/users").body(Full::default()).unwrap();
    assert_eq!(verdict(plain(), relative).await.0, ErrorKind::Other);
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_the_callers() {
    let api = FlakyApi::start(Script::new().route("/", Reply::ok(""))).await;
    let (mut sender, body) = Channel::<Bytes, std::io::Error>::new(2);
    sender.try_send(http_body::Frame::data("the b".into())).unwrap();
    sender.abort(std::io::ErrorKind::UnexpectedEof.into());
    let request = Request::post(api.url("/")).body(reqwest::Body::wrap(body)).unwrap();
    let error = plain().build().unwrap().execute(request.try_into().unwrap()).await.unwrap_err();
    let outcome = HttpClassify::new().classify(Err::<&Response<()>, _>(&error));
    assert_eq!((ErrorKind::of(&error), outcome), (ErrorKind::Body, Outcome::Ignored));
}

// It follows redirects by itself, inside of all layers: what goes along is up to it.
#[tokio::test]
async fn what_it_takes_along_to_another_origin() {
    let other = FlakyApi::start(Script::new().route("/there", Reply::ok("hello"))).await;
    let moved = Reply::status(302).header("location", other.url("/there").to_string());
    let api = FlakyApi::start(Script::new().route("/", moved)).await;
    let origins = || Origins::new([format!("http://{}", api.addr())]);
    let follows = || reqwest::Client::builder().no_proxy();

    let bearer = AuthLayer::new(Bearer::new("s3cret").unwrap(), origins());
    let response = bearer.layer(over(follows())).oneshot(get(api.url("/"))).await.unwrap();
    assert_eq!(response.status(), 200);
    // What it does not know to be a secret it takes along, unless somebody else follows.
    let key = || {
        AuthLayer::new(
            ApiKey::header(HeaderName::from_static("x-key"), "s3cret").unwrap(),
            origins(),
        )
    };
    key().layer(over(follows())).oneshot(get(api.url("/"))).await.unwrap();
    let response = key().layer(over(plain())).oneshot(get(api.url("/"))).await.unwrap();
    assert_eq!(response.status(), StatusCode::FOUND);
    let told = other.requests().into_iter().map(|request| {
        let fields = request.headers();
        (fields.contains_key(AUTHORIZATION), fields.contains_key("x-key"))
    });
    assert_eq!(told.collect::<Vec<_>>(), [(false, false), (false, true)]);
}

/// reqwest's client for the bodies of ours.
fn for_client(client: reqwest::ClientBuilder) -> impl HttpService {
    ServiceBuilder::new()
        .map_response(Response::<reqwest::Body>::from)
        .filter(|request: Request<palisade_client::Body>| {
            reqwest::Request::try_from(request.map(reqwest::Body::wrap))
        })
        .service(client.build().unwrap())
}

#[tokio::test]
async fn a_client_built_over_it() {
    let away = FlakyApi::start(Script::new().route("/there", Reply::ok("\"hello\""))).await;
    let there = away.url("/there").to_string();
    let script = Script::new()
        .route("/users", [Reply::status(503), Reply::ok("[1, 2]")])
        .route("/upload", [Reply::reset(), Reply::ok("\"thanks\"")])
        .route("/moved", Reply::status(302).header("location", &*there));
    let api = FlakyApi::start(script).await;
    let metrics = Registry::new();
    let client = Client::builder()
        .base_url(format!("http://{}", api.addr()))
        .metrics(&metrics)
        .retry(retry())
        .auth(Bearer::new("s3cret").unwrap(), Origins::new([format!("http://{}", api.addr())]))
        .build_over(for_client(plain()))
        .unwrap();
    let users: Vec<u32> = client.get("/users").send().await.unwrap().json().await.unwrap();
    assert_eq!(users, [1, 2]);
    let (mut sender, body) = Channel::<Bytes>::new(2);
    sender.try_send(http_body::Frame::data("first, ".into())).unwrap();
    sender.try_send(http_body::Frame::data("second".into())).unwrap();
    drop(sender);
    let response = client.put("/upload").stream(body).send().await.unwrap();
    assert_eq!(response.json::<String>().await.unwrap(), "thanks");
    let hello: String = client.get("/moved").send().await.unwrap().json().await.unwrap();
    assert_eq!(hello, "hello");

    let requests = api.requests();
    assert_eq!(requests.len(), 5);
    assert!(requests.iter().all(|request| request.headers()[AUTHORIZATION] == "Bearer s3cret"));
    let uploads = requests.iter().filter(|request| request.path() == "/upload");
    assert!(uploads.into_iter().all(|upload| upload.body() == b"first, second"));
    assert!(!away.requests()[0].headers().contains_key(AUTHORIZATION));
    let snapshot = metrics.snapshot();
    assert_eq!((snapshot.calls.count(), snapshot.attempts.count()), (3, 6));

    let refused = format!("http://{}/", refused_addr());
    let error = client.get(refused.parse::<http::Uri>().unwrap()).send().await.unwrap_err();
    assert_eq!(error.kind(), palisade_client::Kind::Request, "it is another origin");
    let other = Client::builder().no_retry().base_url(refused).build_over(for_client(plain()));
    let error = other.unwrap().get("/").send().await.unwrap_err();
    assert_eq!(ErrorKind::of(&error), ErrorKind::Connect);
}

//! The order that the documentation advises: by hand, and as the client has it.

use std::{
    future::ready,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, header::AUTHORIZATION};
use http_body::Frame;
use http_body_util::channel::Channel;
use palisade_auth::{AuthLayer, Token, Tokens, token_fn};
use palisade_cache::{HttpCacheLayer, MemoryStore};
use palisade_circuit_breaker::State;
use palisade_client::{Body, Client, KeepBody};
use palisade_core::{BoxError, ByAuthority, ErrorKind, HttpClassify, Origins};
use palisade_metrics::{Registry, Snapshot};
use palisade_rate_limit::{ConcurrencyLimitLayer, ConcurrencyLimiter, Quota, RateLimitLayer};
use palisade_retry::{Hints, RetryLayer, Rules};
use palisade_testkit::{Call, FlakyApi, Plan, Reply, Script};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_http::{decompression::DecompressionLayer, follow_redirect::FollowRedirectLayer};

use super::reply::gzipped;
use crate::support::{MS, breaker, http1, http2, read, refusal, retry};

/// The API of the tests, and another one that it redirects to.
struct Apis {
    own: FlakyApi,
    other: FlakyApi,
}

impl Apis {
    async fn start() -> Self {
        let other = FlakyApi::start(Script::new().route("/there", Reply::ok("hello"))).await;
        let there = other.url("/there").to_string();
        let ok = Reply::ok("hello");
        let down = Reply::status(503);
        let script = Script::new()
            .route("/cached", known(|_| Reply::ok("hello").header("cache-control", "max-age=60")))
            .route("/flaky", [down.clone(), ok.clone()])
            .route("/upload", [down.clone(), ok.clone()])
            .route("/moved", known(move |_| Reply::status(302).header("location", &*there)))
            .route("/zipped", ok.header("content-encoding", "gzip").body(gzipped(b"hello")))
            .route("/never", Reply::never())
            .route("/down", down);
        Self { own: FlakyApi::start(script).await, other }
    }

    fn origins(&self) -> Origins {
        Origins::new([format!("http://{}", self.own.addr())])
    }
}

/// What answers those with a token that was not revoked.
fn known(reply: impl Fn(&Call<'_>) -> Reply + Send + Sync + 'static) -> Plan {
    Plan::with(move |call| match call.headers().get(AUTHORIZATION) {
        Some(token) if token == "Bearer s3cret-2" => reply(call),
        _ => Reply::status(401),
    })
}

/// What the layers of a stack have in common.
struct Parts {
    metrics: Registry,
    tokens: Tokens,
    fetched: Arc<AtomicU64>,
    limit: ConcurrencyLimitLayer,
}

impl Parts {
    fn new() -> Self {
        let (metrics, fetched) = (Registry::new(), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&fetched);
        let tokens = Tokens::new(token_fn(move |_| {
            let number = counted.fetch_add(1, Ordering::Relaxed) + 1;
            ready(Token::bearer(format!("s3cret-{number}")).map_err(Into::into))
        }));
        let limit = ConcurrencyLimitLayer::new(8).observer(metrics.observer());
        Self { metrics, tokens, fetched, limit }
    }

    fn cache(&self) -> HttpCacheLayer<MemoryStore> {
        HttpCacheLayer::private(MemoryStore::new(1 << 20)).observer(self.metrics.observer())
    }

    fn retry<M>(&self) -> RetryLayer<Rules<HttpClassify<M>>> {
        // An open breaker is nothing to wait for here.
        retry().hints(Hints::new().max(MS)).observer(self.metrics.observer())
    }

    fn rate(&self) -> RateLimitLayer {
        RateLimitLayer::new(Quota::per_second(10_000)).observer(self.metrics.observer())
    }
}

#[tokio::test]
async fn the_documented_stack() {
    let long = Duration::from_secs(60);
    for version in [1, 2] {
        let (apis, parts) = (Apis::start().await, Parts::new());
        let breaker = breaker().keyed(ByAuthority).observer(parts.metrics.observer());
        let stack = ServiceBuilder::new()
            .layer(parts.metrics.calls())
            .timeout(2 * long)
            .layer(FollowRedirectLayer::new())
            .layer(parts.cache())
            .layer(parts.retry().bodies(KeepBody::default()))
            .layer(breaker.gate())
            .layer(parts.rate())
            .layer(parts.limit.clone())
            .layer(breaker)
            .layer(AuthLayer::new(parts.tokens.clone(), apis.origins()).bodies(KeepBody::default()))
            .timeout(long)
            .layer(parts.metrics.attempts())
            .layer(DecompressionLayer::new())
            .service(if version == 1 { http1::<Body>() } else { http2() });
        check(stack, &apis, &parts).await;
    }
}

#[tokio::test]
async fn the_client_with_all_layers() {
    let (apis, parts) = (Apis::start().await, Parts::new());
    let client = Client::builder()
        .no_proxy()
        .metrics(&parts.metrics)
        .cache(parts.cache())
        .retry(parts.retry())
        .circuit_breaker(breaker().keyed(ByAuthority).observer(parts.metrics.observer()))
        .rate_limit(parts.rate())
        .concurrency_limit(parts.limit.clone())
        .auth(parts.tokens.clone(), apis.origins())
        .build()
        .unwrap();
    check(client, &apis, &parts).await;
}

async fn check<S, B>(client: S, apis: &Apis, parts: &Parts)
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>> + Clone,
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let send = |method: Method, path: &str, body| {
        let request = Request::builder().method(method).uri(apis.own.url(path)).body(body);
        let call = client.clone().oneshot(request.unwrap());
        async { call.await.map_err(Into::into) }
    };
    let get = |path| send(Method::GET, path, Body::empty());

    // The first token is refused, and then two answers come from the cache.
    for _ in 0..3 {
        assert_eq!(read(get("/cached").await.unwrap()).await.unwrap(), "hello");
    }
    for path in ["/flaky", "/zipped", "/moved"] {
        assert_eq!(read(get(path).await.unwrap()).await.unwrap(), "hello", "{path}");
    }
    let (mut sender, body) = Channel::<Bytes>::new(8);
    sender.try_send(Frame::data("first, ".into())).unwrap();
    sender.try_send(Frame::data("second".into())).unwrap();
    drop(sender);
    let response = send(Method::PUT, "/upload", Body::stream(body)).await.unwrap();
    assert_eq!(read(response).await.unwrap(), "hello");
    {
        let mut given_up = pin!(get("/never"));
        tokio::select! {
            _ = &mut given_up => panic!("there is no answer"),
            _ = apis.own.wait_for(|stats| stats.in_flight() == 1) => {}
        }
    }
    // Three attempts, and the breaker has seen enough.
    assert_eq!(read(get("/down").await.unwrap()).await.unwrap(), "");
    assert!(refusal(get("/down").await).is_some());

    let stats = apis.own.stats();
    for (path, requests) in [
        ("/cached", 2),
        ("/flaky", 2),
        ("/upload", 2),
        ("/moved", 1),
        ("/zipped", 1),
        ("/never", 1),
        ("/down", 3),
    ] {
        assert_eq!(stats.requests_on(path), requests, "{path}");
    }
    assert_eq!(stats.bodies_whole(), 2);
    let uploads = apis.own.requests().into_iter().filter(|request| request.path() == "/upload");
    assert!(uploads.into_iter().all(|upload| upload.body() == b"first, second"));
    let there = apis.other.requests();
    assert_eq!(there.len(), 1);
    assert!(!there[0].headers().contains_key(AUTHORIZATION));
    assert_eq!(parts.fetched.load(Ordering::Relaxed), 2);
    check_metrics(&parts.metrics.snapshot());
    check_permits(&parts.limit.handle());
}

fn check_metrics(snapshot: &Snapshot) {
    let (calls, attempts) = (&snapshot.calls, &snapshot.attempts);
    assert_eq!((calls.in_flight(), attempts.in_flight()), (0, 0));
    // Where a redirect leads is an attempt of its own.
    assert_eq!((calls.count(), attempts.count()), (10, 13));
    assert_eq!((calls.status(200), attempts.status(200)), (7, 5));
    assert_eq!((calls.status(503), attempts.status(503)), (1, 5));
    assert_eq!((calls.status(401), attempts.status(401)), (0, 1));
    assert_eq!(calls.errors(ErrorKind::Open), 1);
    for requests in [calls, attempts] {
        assert_eq!(requests.errors(ErrorKind::Cancelled), 1);
    }
    let told = |event: &str, reason: &str| -> u64 {
        let events = snapshot.events.iter();
        let events = events.filter(|told| told.event == event && told.reason.starts_with(reason));
        events.map(|told| told.count).sum()
    };
    assert_eq!(told("retry", ""), 4);
    assert_eq!((told("cache", "hit"), told("cache", "stored")), (2, 1));
    assert_eq!(told("transition", "open"), 1);
    assert_eq!(told("refused", ""), 1);
    let open = State::Open.as_str();
    assert!(snapshot.breakers.iter().any(|breaker| breaker.state == open), "{snapshot:?}");
}

fn check_permits(limiter: &ConcurrencyLimiter) {
    let snapshot = limiter.snapshot();
    assert_eq!((snapshot.in_flight, snapshot.waiting), (0, 0));
    let permits: Vec<_> = (0..8).map(|_| limiter.try_acquire().unwrap()).collect();
    assert!(limiter.try_acquire().is_err());
    drop(permits);
}

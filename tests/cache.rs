//! The HTTP cache among other layers, over hyper's client and under axum.

use std::{fmt::Debug, time::Duration};

use axum::{Router, routing};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use palisade_cache::{CacheStatus, CachedBody, HttpCacheLayer, MemoryStore};
use palisade_core::BoxError;
use palisade_rate_limit::{Quota, RateLimitLayer, Wait};
use palisade_retry::RetryLayer;
use palisade_testkit::{FlakyApi, Plan, Reply, Script};
use tokio::task::JoinSet;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use crate::support::{MS, breaker, get, http1, read, retry};

fn cache() -> HttpCacheLayer<MemoryStore> {
    HttpCacheLayer::private(MemoryStore::new(1 << 20))
}

/// Each path answers once, and then never again.
async fn api() -> FlakyApi {
    let once = |control: &str| {
        let reply = Reply::ok("hello").header("cache-control", control).header("etag", "\"a\"");
        Plan::sequence([reply, Reply::never()])
    };
    let script = Script::new()
        .route("/kept", once("max-age=60"))
        .route("/stale", once("max-age=0, stale-if-error=60"))
        .route("/strict", once("max-age=0, stale-if-error=60, must-revalidate"))
        .route("/other", [Reply::never()]);
    FlakyApi::start(script).await
}

/// What is stored is served while what is below is closed, if it may be, and nothing else.
async fn check<S, B>(client: S, close: impl FnOnce())
where
    S: Service<Request<Full<Bytes>>, Response = Response<CachedBody<B>>, Error: Into<BoxError>>
        + Clone,
    B: Body<Error: Into<BoxError> + Debug>,
{
    let api = api().await;
    let call = |path| client.clone().oneshot(get(api.url(path)));
    for path in ["/kept", "/stale", "/strict"] {
        let response = call(path).await.map_err(Into::into).unwrap();
        assert_eq!(response.body().cache_status(), CacheStatus::Miss, "{path}");
        assert_eq!(read(response).await.unwrap(), "hello");
    }
    close();
    for (path, expected) in [
        ("/other", None),
        ("/kept", Some(CacheStatus::Hit)),
        ("/stale", Some(CacheStatus::Stale)),
        ("/strict", None),
        ("/stale", Some(CacheStatus::Stale)),
        ("/kept", Some(CacheStatus::Hit)),
    ] {
        let status = call(path).await.ok().map(|response| response.body().cache_status());
        assert_eq!(status, expected, "{path}");
    }
}

#[tokio::test]
async fn above_a_breaker_that_is_open() {
    let breaker = breaker();
    let handle = breaker.handle();
    let stack = ServiceBuilder::new().layer(cache()).layer(breaker).service(http1());
    check(stack, || handle.force_open()).await;
}

#[tokio::test]
async fn above_a_rate_limit_that_is_used_up() {
    let limit = RateLimitLayer::new(Quota::per_hour(3).burst(3)).wait(Wait::reject());
    check(ServiceBuilder::new().layer(cache()).layer(limit).service(http1()), || {}).await;
}

#[tokio::test]
async fn above_timeouts_limits_and_buffers() {
    let stack = || ServiceBuilder::new().layer(cache());
    let timeout = Duration::from_millis(500);
    tokio::join!(
        check(stack().timeout(timeout).service(http1()), || {}),
        check(stack().concurrency_limit(1).timeout(timeout).service(http1()), || {}),
        check(stack().load_shed().concurrency_limit(1).timeout(timeout).service(http1()), || {}),
        check(stack().buffer(1).concurrency_limit(1).timeout(timeout).service(http1()), || {}),
    );
}

#[tokio::test]
async fn who_waits_together_has_the_retries_between_them() {
    let late = |reply: Reply| reply.latency(50 * MS);
    let good = Reply::ok("hello").header("cache-control", "max-age=60");
    let script = Script::new().route("/", [late(Reply::status(503)), late(good)]);
    let api = FlakyApi::start(script).await;
    let client = ServiceBuilder::new().layer(cache()).layer(retry()).service(http1());
    let mut calls = JoinSet::new();
    for _ in 0..8 {
        calls.spawn(client.clone().oneshot(get(api.url("/"))));
    }
    let mut collapsed = 0;
    for response in calls.join_all().await {
        let response = response.unwrap();
        collapsed += usize::from(response.body().cache_status() == CacheStatus::Collapsed);
        assert_eq!(read(response).await.unwrap(), "hello");
    }
    assert_eq!((collapsed, api.stats().requests()), (7, 2));
}

#[tokio::test]
async fn below_retries_what_fails_is_not_kept() {
    let good = Reply::ok("hello").header("cache-control", "max-age=60");
    let script = Script::new().route("/", [Reply::status(503), good]);
    let api = FlakyApi::start(script).await;
    let client = ServiceBuilder::new().layer(RetryLayer::http()).layer(cache()).service(http1());
    for _ in 0..3 {
        let response = client.clone().oneshot(get(api.url("/"))).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(read(response).await.unwrap(), "hello");
    }
    assert_eq!(api.stats().requests(), 2);
}

#[tokio::test]
async fn around_a_router_it_sees_what_is_asked_for_in_full() {
    let version = |name: &'static str| {
        let answer = async move || ([("cache-control", "max-age=60")], name);
        Router::new().route("/users", routing::get(answer))
    };
    let router = Router::new().nest("/v1", version("one")).nest("/v2", version("two"));
    let shared = HttpCacheLayer::shared(MemoryStore::new(1 << 20)).cache_status("axum");
    let layered = router.clone().layer(shared.clone());
    let around = shared.layer(router);
    for (path, name, status) in [
        ("/v1/users", "one", "axum; fwd=uri-miss"),
        ("/v2/users", "two", "axum; fwd=uri-miss"),
        ("/v1/users", "one", "axum; hit"),
    ] {
        let says = |headers: &HeaderMap, status| {
            headers["cache-status"].to_str().unwrap().starts_with(status)
        };
        let request = || {
            let request = Request::get(path).header("host", "a.example");
            request.body(axum::body::Body::empty()).unwrap()
        };
        let response = around.clone().oneshot(request()).await.unwrap();
        assert!(says(response.headers(), status), "{path}: {:?}", response.headers());
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), name);
        // They share what is stored.
        let response = layered.clone().oneshot(request()).await.unwrap();
        assert!(says(response.headers(), "axum; hit"), "{path}: {:?}", response.headers());
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), name);
    }
}

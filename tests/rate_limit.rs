//! Rate limits under axum and over hyper's client, by real sockets.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, extract::ConnectInfo, routing};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use palisade_rate_limit::{
    ByClient, ConcurrencyLimitLayer, Feedback, Limited, Quota, RateLimitLayer, Wait, respond_fn,
};
use palisade_testkit::{FlakyApi, Reply, Script};
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Instant, timeout},
};
use tower::{ServiceBuilder, ServiceExt};

type Body = Full<Bytes>;

fn get(url: &str) -> Request<Body> {
    Request::get(url).body(Body::default()).unwrap()
}

#[tokio::test]
async fn limits_clients_under_axum() {
    let limit =
        RateLimitLayer::new(Quota::per_hour(2).burst(2))
            .wait(Wait::reject())
            .keyed(ByClient::new().trusted_hops(1).peer(|extensions| {
                extensions.get().map(|ConnectInfo::<SocketAddr>(peer)| peer.ip())
            }))
            .on_refusal(respond_fn(Limited::problem))
            .advertise();
    let handle = limit.clone();
    let router = Router::new().route("/", routing::get(async || "hello")).layer(limit);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, service).await });

    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let mut statuses = Vec::new();
    for forwarded in [None, None, None, Some("203.0.113.9"), None] {
        let mut request = get(&url);
        if let Some(forwarded) = forwarded {
            request.headers_mut().insert("x-forwarded-for", forwarded.parse().unwrap());
        }
        let response = client.request(request).await.unwrap();
        assert!(response.headers().contains_key("ratelimit-policy"));
        statuses.push(response.status().as_u16());
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(response.headers()["content-type"], "application/problem+json");
        }
    }
    assert_eq!(statuses, [200, 200, 429, 200, 429]);
    let keys: Vec<_> = handle.limiters().all().into_iter().map(|(key, _)| key).collect();
    assert!(keys.contains(&Some([127, 0, 0, 1].into())) && keys.len() == 2, "{keys:?}");
}

#[tokio::test]
async fn a_client_that_learns_is_not_refused() {
    let window = Duration::from_secs(1);
    let script = Script::new().route("/", Reply::ok("hello")).limit("/", 20, window);
    let api = FlakyApi::start(script).await;
    let client = ServiceBuilder::new()
        // Outside: a rate limit that learns has to be told of answers before it lets others go.
        .layer(ConcurrencyLimitLayer::new(4))
        .layer(RateLimitLayer::new(Quota::UNLIMITED).learn(Feedback::standard()))
        .service(Client::builder(TokioExecutor::new()).build_http::<Body>());
    let start = Instant::now();
    let mut calls = JoinSet::new();
    for _ in 0..60 {
        let (client, url) = (client.clone(), api.url("/"));
        calls.spawn(async move {
            let response = client.oneshot(get(&url.to_string())).await.unwrap();
            let status = response.status();
            response.into_body().collect().await.unwrap();
            status
        });
    }
    let statuses = timeout(Duration::from_secs(60), calls.join_all()).await.unwrap();
    let refused = statuses.iter().filter(|status| **status != 200).count();
    // Four are on their way before the first answer tells of the quota.
    assert!(refused <= 4, "{refused}");
    assert!(window * 2 <= start.elapsed());
}

/// What is made up for lateness is never more than was late.
#[tokio::test]
async fn timers_that_are_late_let_no_more_go_than_the_quota_has() {
    for rate in [100, 900] {
        let limiter = palisade_rate_limit::Limiter::new(Quota::per_second(rate).burst(1))
            .wait(Wait::forever());
        // In line from here on, so that nobody comes late who has not waited.
        let mut tasks = JoinSet::new();
        let start = Instant::now();
        for _ in 0..8 {
            let limiter = limiter.clone();
            tasks.spawn(async move {
                for _ in 0..rate / 8 * 2 {
                    limiter.acquire(1).await.unwrap();
                }
            });
        }
        tasks.join_all().await;
        let (took, calls) = (start.elapsed().as_secs_f64(), f64::from(rate / 8 * 2 * 8));
        let achieved = calls / took;
        assert!(achieved <= f64::from(rate) * 1.02, "{achieved} of {rate}");
    }
}

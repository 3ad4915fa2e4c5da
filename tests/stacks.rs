//! The retry layer among other layers, in the orders that users try.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{Full, channel::Channel};
use palisade_core::{BoxError, ErrorKind, HttpClassify};
use palisade_retry::{Backoff, ByMethod, RetryLayer, Rules, Unlimited};
use palisade_testkit::{FlakyApi, Reply, Script};
use tokio::task::JoinSet;
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt, timeout::TimeoutLayer, util::BoxCloneSyncService,
};

use crate::support::{MS, get, http1, http2, info, put, read, retry};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// Sends requests, several at a time, to a server that fails twice at each.
async fn check<S, ResB>(client: S)
where
    S: Service<Request<Full<Bytes>>, Response = Response<ResB>, Error: Into<BoxError>>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    ResB: Body + Send + 'static,
{
    let failing = || [Reply::status(503), Reply::reset(), Reply::ok("hello")];
    let script =
        (0..8).fold(Script::new(), |script, number| script.route(&format!("/{number}"), failing()));
    let api = FlakyApi::start(script).await;
    let mut calls = JoinSet::new();
    for number in 0..8 {
        let call = client.clone().oneshot(put(api.url(&format!("/{number}"))));
        calls.spawn(async move { call.await.map_err(Into::into) });
    }
    for response in calls.join_all().await {
        let response = response.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(info(&response), (3, None));
    }
    assert_eq!(api.stats().requests(), 24);
    assert_eq!(api.stats().bodies_whole(), 24);
}

#[tokio::test]
async fn around_a_client_of_any_kind() {
    check(retry().layer(http1())).await;
    check(retry().layer(http2())).await;
    check(retry().replay(64).layer(http1())).await;
    check(retry().layer(BoxCloneSyncService::new(http1()))).await;
    check(BoxCloneSyncService::new(retry().layer(http1()))).await;
}

#[tokio::test]
async fn inside_and_outside_of_a_timeout() {
    let timeout = TimeoutLayer::new(LONG);
    check(retry().layer(timeout.layer(http1()))).await;
    check(timeout.layer(retry().layer(http1()))).await;
    check(timeout.layer(retry().layer(timeout.layer(http1())))).await;
    check(retry().attempt_timeout(LONG).layer(http1().map_err(BoxError::from))).await;
}

#[tokio::test]
async fn inside_and_outside_of_a_buffer() {
    let stack = ServiceBuilder::new;
    check(stack().layer(retry()).buffer(1).service(http1())).await;
    check(stack().buffer(1).layer(retry()).service(http1())).await;
    check(stack().buffer(1).layer(retry()).buffer(1).service(http1())).await;
}

#[tokio::test]
async fn inside_and_outside_of_a_concurrency_limit() {
    let stack = ServiceBuilder::new;
    check(stack().layer(retry()).concurrency_limit(1).service(http1())).await;
    check(stack().concurrency_limit(1).layer(retry()).service(http1())).await;
    // A buffer polls its service ready and holds what that takes while retries wait for the same.
    let limited = stack().buffer(8).layer(retry()).concurrency_limit(1);
    check(limited.service(http1())).await;
}

#[tokio::test]
async fn inside_and_outside_of_load_shedding() {
    let stack = ServiceBuilder::new;
    let retry_all = retry().budget(Unlimited);
    check(stack().load_shed().layer(retry_all).service(http1())).await;

    // Inside, what is shed is tried again, until there is room for it.
    let api = FlakyApi::start(Script::new().route("/", Reply::ok("hello").latency(3 * MS))).await;
    let client = stack()
        .layer(retry().attempts(u32::MAX).budget(Unlimited))
        .load_shed()
        .concurrency_limit(1)
        .service(http1());
    let call = || client.clone().oneshot(put(api.url("/")));
    for response in <[_; 3]>::from(tokio::join!(call(), call(), call())) {
        assert_eq!(response.unwrap().status(), 200);
    }
    assert_eq!(api.stats().requests(), 3);

    // Outside, it is the caller's to see.
    let client = stack().load_shed().concurrency_limit(1).layer(retry()).service(http1());
    let call = || client.clone().oneshot(put(api.url("/")));
    let (first, second) = tokio::join!(call(), call());
    assert_eq!(first.unwrap().status(), 200);
    assert_eq!(ErrorKind::of(&*second.unwrap_err()), ErrorKind::Limited);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn among_all_of_them_on_several_threads() {
    let client = ServiceBuilder::new()
        .timeout(LONG)
        .load_shed()
        .buffer(64)
        .layer(retry())
        .concurrency_limit(2)
        .timeout(LONG)
        .layer_fn(BoxCloneSyncService::new)
        .service(http2());
    check(BoxCloneSyncService::new(client)).await;
}

/// The layer, if an attempt may take no longer than that. However slow the machine is, some attempt
/// gets its answer.
fn patient<M>() -> RetryLayer<Rules<HttpClassify<M>, ByMethod, Backoff, Unlimited>> {
    retry().attempts(1000).budget(Unlimited)
}

const LIMIT: Duration = Duration::from_millis(10);

#[tokio::test]
async fn an_attempt_that_hangs_is_cut_off() {
    let hangs = || [Reply::never(), Reply::never(), Reply::ok("hello")];
    let script = Script::new().route("/a", hangs()).route("/b", hangs());
    let api = FlakyApi::start(script).await;

    let client = patient().layer(TimeoutLayer::new(LIMIT).layer(http1()));
    let response = client.oneshot(get(api.url("/a"))).await.unwrap();
    assert_eq!(read(response).await.unwrap(), "hello");
    assert!(3 <= api.stats().requests_on("/a"));

    let client = http1().map_err(BoxError::from);
    let client = patient().attempt_timeout(LIMIT).layer(client);
    let response = client.oneshot(get(api.url("/b"))).await.unwrap();
    assert_eq!(read(response).await.unwrap(), "hello");
    assert!(3 <= api.stats().requests_on("/b"));
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_cut_off() {
    let api = FlakyApi::start(Script::new().route("/", Reply::never())).await;
    let client = ServiceBuilder::new().timeout(5 * MS).layer(retry()).service(http1());
    let error = client.oneshot(get(api.url("/"))).await.unwrap_err();
    assert_eq!(ErrorKind::of(&*error), ErrorKind::Timeout);
    // Nothing is left of it on either side.
    let stats = api.wait_for(|stats| stats.open_connections() == 0).await;
    assert!(stats.requests() <= 1);
}

#[tokio::test]
async fn an_upload_that_hangs_is_taken_over() {
    for (client, connections) in [(http1(), 2..=u64::MAX), (http2(), 1..=1)] {
        // The first attempt takes the head, and then neither reads nor answers.
        let plan = [Reply::never().early(), Reply::ok("hello")];
        let api = FlakyApi::start(Script::new().route("/", plan)).await;
        let (mut sender, body) = Channel::<Bytes>::new(8);
        sender.try_send(Frame::data("first, ".into())).unwrap();
        let client = client.map_err(BoxError::from);
        let client = patient().replay(64).attempt_timeout(LIMIT).layer(client);

        let call = client.oneshot(put(api.url("/")).map(|_| body));
        let (response, ()) = tokio::join!(call, async {
            api.wait_for(|stats| 2 <= stats.requests()).await;
            sender.try_send(Frame::data("second".into())).unwrap();
            drop(sender);
        });
        assert_eq!(response.unwrap().status(), 200);
        let last = api.requests().pop().unwrap();
        assert_eq!(last.body(), b"first, second");
        assert!(last.is_complete());
        assert!(connections.contains(&last.connection()));
    }
}

#[tokio::test]
async fn in_a_router() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let echo = async move |body: String| match counted.fetch_add(1, Ordering::Relaxed) {
        0 => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
        _ => (StatusCode::OK, body),
    };
    // axum's body does not clone.
    let router = Router::<()>::new().route("/", routing::put(echo)).layer(retry().replay(64));
    let request = Request::put("/").body(axum::body::Body::from("the body"));
    let response = router.oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(info(&response), (2, None));
    assert_eq!(read(response).await.unwrap(), "the body");
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

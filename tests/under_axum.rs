//! Layers of a server under axum, without a handler of errors: what is refused is a response.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    response::IntoResponse,
    routing,
};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use palisade_cache::{HttpCacheLayer, MemoryStore};
use palisade_circuit_breaker::{self as breaker_crate, CircuitBreakerHandle, Open};
use palisade_client::Client;
use palisade_core::ErrorKind;
use palisade_metrics::Registry;
use palisade_rate_limit::{
    ConcurrencyLimitLayer, ConcurrencyLimiter, Limited, Quota, RateLimitLayer, Wait, respond_fn,
};
use palisade_testkit::{FlakyApi, Reply, Script};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, oneshot},
    task::JoinSet,
    time::advance,
};
use tower::ServiceExt;

use crate::support::{OPEN_FOR, breaker, get, http1, read, retry};

/// What is behind the layers.
#[derive(Clone)]
struct Handlers {
    calls: Arc<AtomicU64>,
    // Those that are held wait for one of these.
    released: Arc<Semaphore>,
}

impl Handlers {
    fn new() -> Self {
        Self { calls: Arc::default(), released: Arc::new(Semaphore::new(0)) }
    }

    fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    fn router(&self) -> Router {
        let held = async |State(this): State<Self>| {
            this.calls.fetch_add(1, Ordering::Relaxed);
            this.released.acquire().await.unwrap().forget();
            "hello"
        };
        let answers = |answer: fn() -> Response<Body>| {
            routing::get(async move |State(this): State<Self>| {
                this.calls.fetch_add(1, Ordering::Relaxed);
                answer()
            })
        };
        Router::new()
            .route("/held/{number}", routing::get(held))
            .route("/ok/{number}", answers(|| "hello".into_response()))
            .route(
                "/kept",
                answers(|| ([("cache-control", "max-age=60")], "hello").into_response()),
            )
            .route("/fails", answers(|| StatusCode::INTERNAL_SERVER_ERROR.into_response()))
            .with_state(self.clone())
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Metrics,
    Rate,
    Concurrency,
    Breaker,
    Cache,
}

/// Those that refuse, and what they have to say.
struct Parts {
    metrics: Registry,
    limiter: ConcurrencyLimiter,
    breaker: CircuitBreakerHandle,
}

/// Handlers in layers, the innermost of which is named first.
fn stack(kinds: &[Kind], mut router: Router) -> (Router, Parts) {
    let metrics = Registry::new();
    let rate = RateLimitLayer::new(Quota::per_hour(6).burst(6))
        .wait(Wait::reject())
        .on_refusal(respond_fn(Limited::problem));
    let concurrency = ConcurrencyLimitLayer::new(2)
        .wait(Wait::reject())
        .on_refusal(respond_fn(Limited::response));
    let breaker = breaker().on_refusal(breaker_crate::respond_fn(Open::response));
    let parts = Parts { metrics, limiter: concurrency.handle(), breaker: breaker.handle() };
    for kind in kinds {
        router = match kind {
            Kind::Metrics => router.layer(parts.metrics.served()),
            Kind::Rate => router.layer(rate.clone()),
            Kind::Concurrency => router.layer(concurrency.clone()),
            Kind::Breaker => router.layer(breaker.clone()),
            Kind::Cache => router.layer(HttpCacheLayer::shared(MemoryStore::new(1 << 20))),
        };
    }
    (router, parts)
}

/// All orders.
fn orders() -> Vec<Vec<Kind>> {
    let kinds = [Kind::Metrics, Kind::Rate, Kind::Concurrency, Kind::Breaker, Kind::Cache];
    kinds.into_iter().fold(vec![Vec::new()], |orders: Vec<Vec<Kind>>, kind| {
        let insert = |order: &Vec<Kind>, at| {
            let mut order = order.clone();
            order.insert(at, kind);
            order
        };
        let all = orders.iter();
        all.flat_map(|order| (0..=order.len()).map(move |at| insert(order, at))).collect()
    })
}

async fn call(router: &Router, path: &str) -> Response<Body> {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let Ok::<_, Infallible>(response) = router.clone().oneshot(request).await;
    response
}

#[tokio::test(start_paused = true)]
async fn every_order_of_the_layers_of_a_server() {
    let orders = orders();
    assert_eq!(orders.len(), 120);
    for order in orders {
        println!("{order:?}, from within");
        let handlers = Handlers::new();
        let (router, parts) = stack(&order, handlers.router());
        check(&order, &router, &parts, &handlers).await;
    }
}

async fn check(order: &[Kind], router: &Router, parts: &Parts, handlers: &Handlers) {
    let place = |kind| order.iter().position(|other| *other == kind).unwrap();
    let mut calls = 0;
    let mut ask = async |path: &str| {
        calls += 1;
        call(router, path).await
    };

    // Two at once, and not three.
    let (mut one, mut two) = (pin!(call(router, "/held/1")), pin!(call(router, "/held/2")));
    poll_fn(|cx| {
        assert!(one.as_mut().poll(cx).is_pending() && two.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    assert_eq!(ask("/held/3").await.status(), 503);
    handlers.released.add_permits(2);
    for response in <[_; 2]>::from(tokio::join!(one, two)) {
        assert_eq!(read(response).await.unwrap(), "hello");
    }
    assert_eq!(parts.limiter.snapshot().in_flight, 0);

    // As many as there are in an hour. What was refused further out took nothing.
    let taken = 2 + u32::from(place(Kind::Concurrency) < place(Kind::Rate));
    for number in taken..6 {
        assert_eq!(read(ask(&format!("/ok/{number}")).await).await.unwrap(), "hello");
    }
    let (refused, _) = ask("/ok/7").await.into_parts();
    assert_eq!(refused.status, 429);
    assert_eq!(refused.headers[header::RETRY_AFTER], "600");
    advance(Duration::from_secs(6 * 3600)).await;

    // The handler fails three times, and is left alone then.
    for _ in 0..3 {
        assert_eq!(ask("/fails").await.status(), 500);
    }
    let before = handlers.calls();
    let (refused, _) = ask("/fails").await.into_parts();
    assert_eq!((refused.status.as_u16(), handlers.calls()), (503, before));
    assert_eq!(refused.headers[header::RETRY_AFTER], "5");
    advance(OPEN_FOR).await;
    for number in 8..10 {
        assert_eq!(ask(&format!("/ok/{number}")).await.status(), 200);
    }
    assert_eq!(parts.breaker.state(), breaker_crate::State::Closed);
    advance(Duration::from_secs(6 * 3600)).await;

    for _ in 0..3 {
        assert_eq!(read(ask("/kept").await).await.unwrap(), "hello");
    }
    assert_eq!(handlers.calls(), before + 2 + 1);

    let served = parts.metrics.snapshot().served;
    assert_eq!(served.in_flight(), 0);
    assert!((handlers.calls()..=calls + 2).contains(&served.count()));
    match place(Kind::Metrics) {
        0 => assert_eq!(served.count(), handlers.calls()),
        4 => assert_eq!(served.count(), calls + 2),
        _ => {}
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_limit_inside_refuses_is_no_failure_of_the_handlers() {
    for order in [
        [Kind::Concurrency, Kind::Breaker, Kind::Metrics],
        [Kind::Concurrency, Kind::Metrics, Kind::Breaker],
    ] {
        let handlers = Handlers::new();
        let (router, parts) = stack(&order, handlers.router());
        let (mut one, mut two) = (pin!(call(&router, "/held/1")), pin!(call(&router, "/held/2")));
        poll_fn(|cx| {
            assert!(one.as_mut().poll(cx).is_pending() && two.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        for number in 0..9 {
            assert_eq!(call(&router, &format!("/ok/{number}")).await.status(), 503);
        }
        assert_eq!(parts.breaker.state(), breaker_crate::State::Closed, "{order:?}");
        assert_eq!(parts.breaker.snapshot().failures_in_row, 0);
        let served = parts.metrics.snapshot().served.outcomes();
        assert_eq!((served.of("refused"), served.of("transient")), (9, 0));
    }
}

#[tokio::test]
async fn what_waits_in_line_is_answered_before_a_server_goes() {
    let handlers = Handlers::new();
    let limit = ConcurrencyLimitLayer::new(2)
        .wait(Wait::forever())
        .on_refusal(respond_fn(Limited::response));
    let (limiter, metrics) = (limit.handle(), Registry::new());
    let router = handlers.router().layer(limit).layer(metrics.served());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, router)
        .with_graceful_shutdown(async { stopped.await.unwrap() })
        .into_future();
    let mut server = pin!(server);

    let client = http1::<Full<Bytes>>();
    let mut calls = JoinSet::new();
    for number in 0..4 {
        let uri = format!("http://{addr}/held/{number}").parse().unwrap();
        calls.spawn(client.request(get(uri)));
    }
    let all_are_there = async {
        while limiter.snapshot().waiting < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = &mut server => panic!("nobody has stopped it"),
        () = all_are_there => {}
    }
    stop.send(()).unwrap();
    let all_are_read = async {
        handlers.released.add_permits(4);
        while let Some(response) = calls.join_next().await {
            assert_eq!(read(response.unwrap().unwrap()).await.unwrap(), "hello");
        }
        // Its connections end with the client.
        drop(client);
    };
    let (ended, ()) = tokio::join!(server, all_are_read);
    ended.unwrap();
    let snapshot = limiter.snapshot();
    assert_eq!((snapshot.in_flight, snapshot.waiting), (0, 0));
    let served = metrics.snapshot().served;
    assert_eq!((served.status(200), served.in_flight()), (4, 0));
}

async fn name(
    State(client): State<Client>,
    Path(id): Path<u32>,
) -> Result<String, (StatusCode, String)> {
    let answer = async { client.get("/users/{id}").path("id", id).send().await?.json().await };
    answer.await.map_err(|error| (StatusCode::BAD_GATEWAY, error.to_string()))
}

#[tokio::test]
async fn a_client_in_a_handler() {
    let script = Script::new()
        .route("/users/1", [Reply::status(503), Reply::ok("\"Ada\"")])
        .route("/users/2", Reply::status(404))
        .route("/users/3", Reply::never());
    let api = FlakyApi::start(script).await;
    let (metrics, limit) = (Registry::new(), ConcurrencyLimitLayer::new(1));
    let limiter = limit.handle();
    let client = Client::builder()
        .base_url(format!("http://{}", api.addr()))
        .metrics(&metrics)
        .retry(retry())
        .concurrency_limit(limit)
        .build()
        .unwrap();
    let router = Router::new().route("/{id}", routing::get(name)).with_state(client);
    let router = router.layer(metrics.served());

    let response = call(&router, "/1").await;
    assert_eq!((response.status().as_u16(), read(response).await.unwrap()), (200, "Ada".into()));
    assert_eq!(call(&router, "/2").await.status(), 502);
    // Who asks goes away, and so does what was asked for.
    tokio::select! {
        _ = call(&router, "/3") => panic!("there is no answer"),
        _ = api.wait_for(|stats| stats.in_flight() == 1) => {}
    }
    api.wait_for(|stats| stats.in_flight() == 0).await;
    assert_eq!(limiter.snapshot().in_flight, 0);
    let response = call(&router, "/1").await;
    assert_eq!(read(response).await.unwrap(), "Ada");
    let snapshot = metrics.snapshot();
    assert_eq!((snapshot.served.count(), snapshot.calls.count()), (4, 4));
    assert_eq!(snapshot.attempts.count(), api.stats().requests());
    for requests in [&snapshot.served, &snapshot.calls, &snapshot.attempts] {
        assert_eq!(requests.errors(ErrorKind::Cancelled), 1);
    }
}

//! The circuit breaker as a layer of a server, under axum.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::Path, routing};
use http::{Request, Response, StatusCode, header};
use palisade_circuit_breaker::{CircuitBreakerLayer, Open, State, respond_fn};
use palisade_core::{HttpClassify, key_fn};
use tokio::time::advance;
use tower::{ServiceBuilder, ServiceExt, util::option_layer};

use crate::support::{MS, OPEN_FOR, breaker, read};

/// A backend behind two routes.
#[derive(Clone, Default)]
struct Backend {
    down: Arc<AtomicBool>,
    calls: Arc<AtomicU32>,
}

impl Backend {
    fn router(&self) -> Router {
        let (list, one) = (self.clone(), self.clone());
        Router::new()
            .route("/users", routing::get(async move || list.answer()))
            .route("/users/{id}", routing::get(async move |_: Path<u32>| one.answer()))
    }

    fn answer(&self) -> Result<&'static str, StatusCode> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        match self.down.load(Ordering::Relaxed) {
            true => Err(StatusCode::BAD_GATEWAY),
            false => Ok("hello"),
        }
    }

    fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }
}

async fn call(router: &Router, path: &str) -> Response<Body> {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let Ok::<_, Infallible>(response) = router.clone().oneshot(request).await;
    response
}

/// Brings the backend down, and sees its routes answer 503 until it is up again.
async fn check(router: Router, backend: &Backend, handle: impl Fn() -> State) {
    backend.down.store(true, Ordering::Relaxed);
    // Two routes, one breaker.
    for path in ["/users", "/users/7", "/users"] {
        assert_eq!(handle(), State::Closed);
        assert_eq!(call(&router, path).await.status(), 502);
    }
    assert_eq!(handle(), State::Open);
    for (path, passed, retry_after) in [
        ("/users", Duration::ZERO, "5"),
        ("/users/7", Duration::ZERO, "5"),
        // Rounded up.
        ("/users", OPEN_FOR - MS, "1"),
    ] {
        advance(passed).await;
        let response = call(&router, path).await;
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[header::RETRY_AFTER], retry_after);
        assert_eq!(read(response).await.unwrap(), "");
    }
    assert_eq!(backend.calls(), 3);

    backend.down.store(false, Ordering::Relaxed);
    advance(MS).await;
    for state in [State::HalfOpen, State::Closed] {
        let response = call(&router, "/users/7").await;
        assert_eq!(read(response).await.unwrap(), "hello");
        assert_eq!(handle(), state);
    }
}

#[tokio::test(start_paused = true)]
async fn a_router_answers_what_is_refused() {
    let backend = Backend::default();
    let layer = breaker().on_refusal(respond_fn(Open::response));
    let handle = layer.handle();
    check(backend.router().layer(layer), &backend, || handle.state()).await;

    let backend = Backend::default();
    let layer = breaker().on_refusal(respond_fn(Open::response)).at_body_end();
    let handle = layer.handle();
    check(backend.router().layer(layer), &backend, || handle.state()).await;
}

#[tokio::test(start_paused = true)]
async fn a_route_layer_and_a_stack_of_layers_answer_it_too() {
    let backend = Backend::default();
    let layer = breaker().on_refusal(respond_fn(Open::response));
    let handle = layer.handle();
    check(backend.router().route_layer(layer), &backend, || handle.state()).await;

    let backend = Backend::default();
    let layer = breaker().on_refusal(respond_fn(Open::response));
    let handle = layer.handle();
    let stack = ServiceBuilder::new().layer(layer).map_request(|request: Request<Body>| request);
    check(backend.router().layer(stack), &backend, || handle.state()).await;
}

#[tokio::test(start_paused = true)]
async fn a_router_takes_it_as_an_option() {
    let backend = Backend::default();
    let layer = breaker().on_refusal(respond_fn(Open::response));
    let handle = layer.handle();
    check(backend.router().layer(option_layer(Some(layer))), &backend, || handle.state()).await;

    let layer = Some(breaker().on_refusal(respond_fn(Open::response))).filter(|_| false);
    let backend = Backend::default();
    backend.down.store(true, Ordering::Relaxed);
    let router = backend.router().layer(option_layer(layer));
    for _ in 0..9 {
        assert_eq!(call(&router, "/users").await.status(), 502);
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_that_fails_leaves_others_alone() {
    let backend = Backend::default();
    backend.down.store(true, Ordering::Relaxed);
    let by_path = key_fn(|head| head.uri.path().to_owned());
    let layer = breaker().keyed(by_path).on_refusal(respond_fn(Open::response));
    let breakers = layer.breakers();
    let router = backend.router().route("/health", routing::get("fine")).layer(layer);
    for path in ["/users", "/users", "/users", "/health", "/missing"] {
        call(&router, path).await;
    }
    for (path, status) in [("/users", 503), ("/users/7", 502), ("/health", 200), ("/missing", 404)]
    {
        assert_eq!(call(&router, path).await.status(), status, "{path}");
    }
    assert_eq!(breakers.get(&"/users".to_owned()).unwrap().state(), State::Open);
    assert_eq!(breakers.len(), 4);
}

#[tokio::test]
async fn the_answer_is_up_to_the_server() {
    let answer = |open: Open| {
        let body = format!("{{\"error\":\"{}\"}}", open.reason().as_str());
        Response::builder().status(StatusCode::IM_A_TEAPOT).body(Body::from(body)).unwrap()
    };
    let layer: CircuitBreakerLayer<HttpClassify, _, _> = breaker().on_refusal(respond_fn(answer));
    layer.handle().force_open();
    let backend = Backend::default();
    let response = call(&backend.router().layer(layer.clone()), "/users").await;
    assert_eq!(response.status(), 418);
    assert_eq!(read(response).await.unwrap(), "{\"error\":\"forced\"}");
    assert_eq!(backend.calls(), 0);
}

//! Where redirects lead is asked for as anything else: by retries, breakers, limits and credentials
//! of its own.

use std::{
    convert::identity,
    future::ready,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderValue, Request, Response, StatusCode};
use palisade_auth::{ApiKey, Token, Tokens, token_fn};
use palisade_circuit_breaker::{CircuitBreakerLayer, Trip};
use palisade_client::{Body, Client, ClientBuilder};
use palisade_core::{Attempt, BoxError, ByAuthority, Deadline, Origins, causes, is_unsent};
use palisade_rate_limit::{ConcurrencyLimitLayer, Wait};
use tower::{service_fn, util::MapRequestLayer};

type Answer = Result<Response<Body>, BoxError>;

/// Where orders are made, and lead to what is read.
struct Shop {
    orders: Arc<AtomicUsize>,
    reads: Arc<AtomicUsize>,
    client: Client,
}

impl Shop {
    fn new(
        build: impl FnOnce(ClientBuilder) -> ClientBuilder,
        to: &'static str,
        read: impl Fn(&Request<Body>) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let counts = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let (orders, reads) = counts.clone();
        let read = Arc::new(read);
        let service = service_fn(move |request: Request<Body>| {
            let orders = request.uri().path() == "/orders";
            let count = if orders { &counts.0 } else { &counts.1 };
            count.fetch_add(1, Ordering::Relaxed);
            ready(match orders {
                true => {
                    Ok(answer(303).header("location", to).body(Body::from("go there")).unwrap())
                }
                false => read(&request),
            })
        });
        let builder = build(Client::builder().base_url("https://api.example"));
        Self { orders, reads, client: builder.build_over(service).unwrap() }
    }

    fn counts(&self) -> (usize, usize) {
        (self.orders.load(Ordering::Relaxed), self.reads.load(Ordering::Relaxed))
    }
}

const NEAR: &str = "/orders/7";
const ELSEWHERE: &str = "https://other.example/orders/7";

fn answer(status: u16) -> http::response::Builder {
    Response::builder().status(status)
}

fn says(status: u16) -> impl Fn(&Request<Body>) -> Answer {
    move |_| Ok(answer(status).header("retry-after", "0").body(Body::empty())?)
}

// It was processed: that what it led to cannot be had is no reason to do it again.
#[tokio::test(start_paused = true)]
async fn a_write_is_sent_once_whatever_becomes_of_where_it_led() {
    for to in [NEAR, ELSEWHERE] {
        for status in [429, 503] {
            let shop = Shop::new(identity, to, says(status));
            let response = shop.client.post("/orders").body("order").send().await.unwrap();
            assert_eq!(response.status(), status);
            // What it led to is asked for as anything that is read.
            assert_eq!(shop.counts(), (1, 3), "{status} {to}");
        }
        let shop = Shop::new(identity, to, |_| {
            Err(io::Error::from(io::ErrorKind::ConnectionRefused).into())
        });
        let error = shop.client.post("/orders").body("order").send().await.unwrap_err();
        assert_eq!(shop.counts(), (1, 3), "{to}");
        assert!(error.is_connect(), "{error:?}");
        assert!(!is_unsent(&error), "whoever sends it again does so twice");
    }
}

// Another origin has not seen it.
#[tokio::test(start_paused = true)]
async fn a_token_is_not_refused_by_another_origin() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let tokens = Tokens::new(token_fn(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        ready(Ok(Token::bearer("t0ken").unwrap()))
    }));
    let origins = Origins::new(["https://api.example"]);
    let shop = Shop::new(
        |client| client.auth(tokens, origins),
        ELSEWHERE,
        |request| {
            assert!(!request.headers().contains_key("authorization"));
            Ok(answer(401).body(Body::empty())?)
        },
    );
    for calls in 1..4 {
        let response = shop.client.post("/orders").body("order").send().await.unwrap();
        assert_eq!(response.status(), 401);
        assert_eq!(shop.counts(), (calls, calls));
    }
    assert_eq!(made.load(Ordering::Relaxed), 1);
}

// A key in the query is put there again, as a redirect does not take it along.
#[tokio::test]
async fn the_own_origin_is_told_the_credentials_of_each_request() {
    let origins = Origins::new(["https://api.example"]);
    let key = ApiKey::query("key", "s3cret").unwrap();
    let shop = Shop::new(
        |client| client.auth(key, origins),
        NEAR,
        |request| {
            assert_eq!(request.uri().query(), Some("key=s3cret"));
            Ok(Response::new(Body::empty()))
        },
    );
    assert_eq!(shop.client.post("/orders").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn layers_of_the_users_take_no_secrets_to_another_origin() {
    let secret = MapRequestLayer::new(|mut request: Request<Body>| {
        request.headers_mut().insert("x-signature", HeaderValue::from_static("s3cret"));
        request
    });
    for (to, told) in [(NEAR, true), (ELSEWHERE, false)] {
        let shop = Shop::new(
            |client| client.attempt_layer(secret.clone()),
            to,
            move |request| {
                assert_eq!(request.headers().contains_key("x-signature"), told);
                Ok(Response::new(Body::empty()))
            },
        );
        assert_eq!(shop.client.post("/orders").send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_host_is_not_left_alone_for_where_it_leads() {
    let breaker = CircuitBreakerLayer::http().keyed(ByAuthority).trip(Trip::consecutive(2));
    let shop = Shop::new(|client| client.no_retry().circuit_breaker(breaker), ELSEWHERE, says(503));
    let mut last = Ok(StatusCode::OK);
    for _ in 0..4 {
        let result = shop.client.post("/orders").send().await;
        last = result.map(|response| response.status());
    }
    // The other one is.
    assert!(last.is_err());
    assert_eq!(shop.counts(), (4, 2));
}

// What the redirect says is read no further, so its place is free.
#[tokio::test]
async fn a_hop_has_the_place_of_what_led_there() {
    let shop = Shop::new(
        |client| client.concurrency_limit(ConcurrencyLimitLayer::new(1).wait(Wait::reject())),
        NEAR,
        |_| Ok(Response::new(Body::from("done"))),
    );
    for _ in 0..3 {
        let response = shop.client.post("/orders").send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "done");
    }
}

#[tokio::test]
async fn a_hop_knows_how_much_time_is_left_and_that_it_was_sent_before() {
    for to in [NEAR, ELSEWHERE] {
        let shop = Shop::new(identity, to, |request| {
            assert!(Deadline::of(request.extensions()).is_some());
            assert_eq!(Attempt::of(request.extensions()).resends(), 1);
            Ok(Response::new(Body::empty()))
        });
        let request = shop.client.post("/orders").timeout(Duration::from_secs(5));
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn an_answer_says_who_gave_it() {
    let shop = Shop::new(identity, ELSEWHERE, |_| Ok(Response::new(Body::empty())));
    let response = shop.client.post("/orders").send().await.unwrap();
    assert_eq!(response.uri(), ELSEWHERE);
    let error = response.json::<u8>().await.unwrap_err();
    assert_eq!(error.uri().unwrap(), ELSEWHERE);

    let shop = Shop::new(identity, ELSEWHERE, |_| Err("gone".into()));
    let error = shop.client.post("/orders").send().await.unwrap_err();
    let told: Vec<_> = causes(&error).map(ToString::to_string).collect();
    // By its origin alone: a path may hold a secret.
    assert_eq!(
        told,
        [
            "no answer to POST /orders",
            "other failure",
            "a redirect has led to https://other.example",
            "gone"
        ]
    );
}

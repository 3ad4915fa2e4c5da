//! Where redirects lead is asked for as anything else: by retries, breakers, limits and credentials
//! of its own.

use std::{
    convert::identity,
    future::ready,
    io,
    panic::{AssertUnwindSafe, resume_unwind},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, stream::pending};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use palisade_auth::{ApiKey, Bearer, Token, Tokens, token_fn};
use palisade_cache::{CacheMode, CachePartition, HttpCacheLayer, MemoryStore};
use palisade_circuit_breaker::{CircuitBreakerLayer, Trip};
use palisade_client::{Body, Client, ClientBuilder, KeepBody, Kind};
use palisade_core::{
    Attempt, BoxError, Boxed, ByAuthority, Deadline, ErrorKind, Fault, HttpClassify, Identity,
    Origins, causes, is_unsent,
};
use palisade_metrics::Registry;
use palisade_rate_limit::{
    ConcurrencyLimitLayer, Limited, Quota, RateLimitLayer, Wait, respond_fn,
};
use palisade_retry::{RetryLayer, RetryOverride};
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, service_fn, util::MapRequestLayer};
use tower_http::follow_redirect::RequestUri;

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

#[tokio::test]
async fn a_client_below_gives_no_credentials_to_what_is_led_away() {
    let below = service_fn(|request: Request<Body>| ready(who(&request)));
    let bearer = || Bearer::new("t0ken").unwrap();
    let below = Client::builder().auth(bearer(), Origins::any()).build_over(below).unwrap();
    let api = service_fn(move |request: Request<Body>| {
        let below = below.clone();
        async move {
            match request.uri().path() {
                "/old" => led("https://other.example/me"),
                _ => Ok(below.oneshot(request).await?.map(Body::stream)),
            }
        }
    });
    let client = Client::builder().base_url("https://api.example").build_over(api).unwrap();
    for (path, answer) in [("/me", "you"), ("/old", "anybody")] {
        let response = client.get(path).send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), answer);
    }
}

#[tokio::test]
async fn user_names_and_passwords_of_a_redirect_go_nowhere() {
    for to in ["https://me:s3cret@api.example/orders/7", "https://me@other.example/orders/7"] {
        let shop = Shop::new(identity, to, |request| {
            assert!(!request.uri().authority().unwrap().as_str().contains('@'));
            Ok(Response::new(Body::empty()))
        });
        let response = shop.client.post("/orders").send().await.unwrap();
        assert!(!response.uri().to_string().contains('@'), "{}", response.uri());
        let RequestUri(told) = response.extensions().get().unwrap();
        assert_eq!(told, response.uri());
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

// A key in the query is put there again, as a redirect does not take it along; but not twice, where
// a server has written it into that.
#[tokio::test]
async fn the_own_origin_is_told_the_credentials_of_each_request() {
    for to in [NEAR, "/orders/7?key=s3cret"] {
        let origins = Origins::new(["https://api.example"]);
        let key = ApiKey::query("key", "s3cret").unwrap();
        let shop = Shop::new(
            |client| client.auth(key, origins),
            to,
            |request| {
                assert_eq!(request.uri().query(), Some("key=s3cret"));
                Ok(Response::new(Body::empty()))
            },
        );
        assert_eq!(shop.client.post("/orders").send().await.unwrap().status(), 200);
    }
}

// It may put a secret anywhere, and lose what it does not know.
#[tokio::test]
async fn what_leads_to_another_origin_passes_no_layer_of_the_users() {
    let secret = MapRequestLayer::new(|request: Request<Body>| {
        let (head, body) = request.into_parts();
        let uri = format!("{}?key=s3cret", head.uri);
        let mut request = Request::new(body);
        (*request.uri_mut(), *request.method_mut()) = (uri.parse().unwrap(), head.method);
        request.headers_mut().insert("x-signature", HeaderValue::from_static("s3cret"));
        request
    });
    for (to, told) in [(NEAR, true), (ELSEWHERE, false)] {
        let shop = Shop::new(
            |client| client.attempt_layer(secret.clone()),
            to,
            move |request| {
                assert_eq!(request.headers().contains_key("x-signature"), told);
                assert_eq!(request.uri().query().is_some(), told);
                assert!(request.extensions().get::<Identity>().is_none());
                Ok(Response::new(Body::empty()))
            },
        );
        let request = shop.client.post("/orders").extension(Identity::new("ada"));
        assert_eq!(request.send().await.unwrap().status(), 200);
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
    let shop = Shop::new(identity, NEAR, |request| {
        assert!(Deadline::of(request.extensions()).is_some());
        assert_eq!(Attempt::of(request.extensions()).resends(), 1);
        Ok(Response::new(Body::empty()))
    });
    let request = shop.client.post("/orders").timeout(Duration::from_secs(5));
    assert_eq!(request.send().await.unwrap().status(), 200);
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

/// Who asks where: what `/me` says depends on that.
fn who(request: &Request<Body>) -> Answer {
    let known = request.headers().contains_key("authorization");
    let answer = answer(200).header("cache-control", "max-age=60");
    Ok(answer.body(Body::from(if known { "you" } else { "anybody" }))?)
}

fn led(location: &'static str) -> Answer {
    let answer = answer(302).header("location", location).header("cache-control", "max-age=60");
    Ok(answer.body(Body::from("go there"))?)
}

fn cache() -> HttpCacheLayer<MemoryStore> {
    HttpCacheLayer::private(MemoryStore::new(1 << 20))
}

// A login leads elsewhere and back, without credentials.
#[tokio::test]
async fn what_is_asked_without_credentials_is_kept_apart() {
    for paths in [["/login", "/me"], ["/me", "/login"]] {
        let api = service_fn(|request: Request<Body>| {
            ready(match request.uri().path() {
                "/login" => led("https://login.example/"),
                "/" => led("https://api.example/me"),
                _ => who(&request),
            })
        });
        let origins = Origins::new(["https://api.example"]);
        let client = Client::builder().base_url("https://api.example").cache(cache());
        let client = client.auth(Bearer::new("t0ken").unwrap(), origins).build_over(api).unwrap();
        for path in [paths, paths].as_flattened() {
            let answer = client.get(*path).send().await.unwrap().text().await.unwrap();
            assert_eq!(answer, if *path == "/me" { "you" } else { "anybody" });
        }
    }
}

// Whatever the user calls his own.
#[tokio::test]
async fn no_partition_of_the_users_is_that_of_what_is_led_away() {
    let api = service_fn(|request: Request<Body>| {
        ready(match request.uri().path() {
            "/login" => led("https://login.example/"),
            "/" => led("https://api.example/me"),
            _ => who(&request),
        })
    });
    let origins = Origins::new(["https://api.example"]);
    let client = Client::builder().base_url("https://api.example").cache(cache());
    let client = client.auth(Bearer::new("t0ken").unwrap(), origins).build_over(api).unwrap();
    for name in ["away", "bare", "without_credentials", ""] {
        let request = client.get("/me").extension(CachePartition::named(name));
        assert_eq!(request.send().await.unwrap().text().await.unwrap(), "you");
        let answer = client.get("/login").send().await.unwrap().text().await.unwrap();
        assert_eq!(answer, "anybody", "{name}");
    }
}

// A body of up to 16 KiB is.
#[tokio::test]
async fn a_redirect_is_kept_with_its_body() {
    for (length, kept) in [(8, true), (16 << 10, true), ((16 << 10) + 1, false)] {
        redirect_is_kept(length, kept).await;
    }
}

async fn redirect_is_kept(length: usize, kept: bool) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let api = service_fn(move |request: Request<Body>| {
        count.fetch_add(1, Ordering::Relaxed);
        ready(match request.uri().path() {
            "/old" => led("/me").map(|answer| answer.map(|_| Body::from(vec![b'x'; length]))),
            _ => who(&request),
        })
    });
    let registry = Registry::new();
    let client = Client::builder().base_url("https://api.example").cache(cache());
    let client = client.metrics(&registry).build_over(api).unwrap();
    for again in 0..3 {
        let answer = client.get("/old").send().await.unwrap().text().await.unwrap();
        let asked = asked.load(Ordering::Relaxed);
        assert_eq!((answer.as_str(), asked), ("anybody", if kept { 2 } else { 2 + again }));
    }
    let attempts = registry.snapshot().attempts;
    assert_eq!(attempts.groups.iter().all(|group| group.unread == 0), kept);
}

// Of what has no limits.
#[test]
fn redirects_are_followed_without_a_runtime() {
    let unlimited = |client: ClientBuilder| client.total_timeout(None).attempt_timeout(None);
    let shop = Shop::new(unlimited, NEAR, |_| Ok(Response::new(Body::empty())));
    let mut call = pin!(shop.client.post("/orders").send());
    let mut cx = Context::from_waker(Waker::noop());
    let response = (0..10).find_map(|_| match call.as_mut().poll(&mut cx) {
        Poll::Ready(response) => Some(response.unwrap()),
        Poll::Pending => None,
    });
    assert_eq!(response.unwrap().uri().path(), NEAR);
}

// It is of no use, and nobody waits for long.
#[tokio::test(start_paused = true)]
async fn a_redirect_whose_body_does_not_end_is_followed() {
    let api = service_fn(|request: Request<Body>| {
        ready(match request.uri().path() {
            "/old" => {
                let endless = StreamBody::new(pending::<Result<Frame<Bytes>, BoxError>>());
                let answer = answer(302).header("location", "/me");
                Ok::<_, BoxError>(answer.body(Body::stream(endless)).unwrap())
            }
            _ => who(&request),
        })
    });
    let client = Client::builder().base_url("https://api.example");
    let client = client.concurrency_limit(ConcurrencyLimitLayer::new(1)).build_over(api).unwrap();
    let start = Instant::now();
    assert_eq!(client.get("/old").send().await.unwrap().text().await.unwrap(), "anybody");
    assert_eq!(start.elapsed(), Duration::from_millis(50));
}

#[tokio::test(start_paused = true)]
async fn a_hop_is_retried_within_the_time_of_the_call() {
    let second = Duration::from_secs(1);
    for (to, cached) in [(NEAR, false), (NEAR, true), (ELSEWHERE, false), (ELSEWHERE, true)] {
        let api = service_fn(move |request: Request<Body>| async move {
            match request.uri().path() {
                "/first" => return led("/old"),
                "/old" => sleep(3 * second / 2).await,
                _ => return Ok(answer(503).header("retry-after", "1").body(Body::empty())?),
            }
            Ok(answer(302).header("location", to).body(Body::empty())?)
        });
        let client = Client::builder().base_url("https://api.example").total_timeout(2 * second);
        let client = if cached { client.cache(cache()) } else { client };
        let client = client.build_over(api).unwrap();
        // The first redirect may be there at once, when it is not known yet when the call is due.
        for request in [
            client.get("/old"),
            client.get("/old").timeout(2 * second),
            client.get("/first"),
            client.get("/first"),
        ] {
            let start = Instant::now();
            // There is no time for another attempt: so it is what the last one has come to.
            assert_eq!(request.send().await.unwrap().status(), 503);
            assert_eq!(start.elapsed(), 3 * second / 2);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hop_that_hangs_is_told_by_the_time_of_the_call() {
    let second = Duration::from_secs(1);
    for cached in [false, true] {
        let api = service_fn(move |request: Request<Body>| async move {
            if request.uri().path() == "/old" {
                sleep(3 * second / 2).await;
                return led(NEAR);
            }
            std::future::pending().await
        });
        let client = Client::builder().base_url("https://api.example").total_timeout(2 * second);
        let client = if cached { client.cache(cache()) } else { client };
        let client = client.build_over(api).unwrap();
        let start = Instant::now();
        let error = client.get("/old").send().await.unwrap_err();
        assert_eq!(start.elapsed(), 2 * second);
        let told: Vec<_> = causes(&error).map(ToString::to_string).collect();
        assert_eq!(told[1], "call took longer than 2s in all", "{told:?}");
    }
}

// Its panic is caught where the outer call is polled.
#[tokio::test(start_paused = true)]
async fn the_time_of_a_call_is_no_matter_to_one_around_it() {
    let second = Duration::from_secs(1);
    let inner = service_fn(move |_: Request<Body>| async move {
        sleep(second / 2).await;
        resume_unwind(Box::new("on purpose"));
        #[expect(unreachable_code, reason = "it says what it would be")]
        Ok::<_, BoxError>(Response::new(Body::empty()))
    });
    let inner = Client::builder().total_timeout(second).no_retry().build_over(inner).unwrap();
    let shop = Client::builder().base_url("https://api.example").no_retry();
    let api = service_fn(move |request: Request<Body>| {
        let inner = inner.clone();
        async move {
            if request.uri().path() == "/old" {
                let call = inner.oneshot(Request::get("https://b.example/").body(Body::empty())?);
                assert!(AssertUnwindSafe(call).catch_unwind().await.is_err());
                return led(NEAR);
            }
            let due = Deadline::of(request.extensions()).unwrap().0;
            let left = due.saturating_duration_since(Instant::now().into_std());
            assert!(59 * second < left && left < 60 * second, "{left:?}");
            Ok(Response::new(Body::empty()))
        }
    });
    let client = shop.build_over(api).unwrap();
    assert_eq!(client.get("/old").send().await.unwrap().status(), 200);
}

#[test]
fn a_runtime_needs_no_timers_where_nothing_is_limited() {
    let unlimited = |client: ClientBuilder| client.total_timeout(None).attempt_timeout(None);
    let shop = Shop::new(unlimited, NEAR, |_| Ok(Response::new(Body::empty())));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let response = runtime.block_on(shop.client.post("/orders").send()).unwrap();
    assert_eq!(response.status(), 200);
}

// They go over no wire.
#[tokio::test(start_paused = true)]
async fn what_layers_are_told_holds_wherever_a_request_leads() {
    for to in [NEAR, ELSEWHERE] {
        let once = RetryOverride::new().attempts(1);
        let shop = Shop::new(identity, to, says(503));
        let response = shop.client.post("/orders").extension(once).send().await.unwrap();
        assert_eq!((response.status(), shop.counts()), (StatusCode::SERVICE_UNAVAILABLE, (1, 1)));

        let shop = Shop::new(|client| client.cache(cache()), to, who);
        for reads in 1..4 {
            let request = shop.client.post("/orders").extension(CacheMode::NoStore);
            assert_eq!(request.send().await.unwrap().text().await.unwrap(), "anybody");
            assert_eq!(shop.counts(), (reads, reads), "{to}");
        }
    }
}

// Also by layers that stand around the client.
#[tokio::test(start_paused = true)]
async fn a_write_is_sent_once_by_retries_around_the_client() {
    let refuses = |client: ClientBuilder| {
        let limit = RateLimitLayer::new(Quota::per_hour(1)).wait(Wait::reject());
        client.no_retry().rate_limit(limit.on_refusal(respond_fn(Limited::problem)))
    };
    for shop in [
        Shop::new(|client| client.no_retry(), NEAR, says(429)),
        Shop::new(|client| client.no_retry(), NEAR, says(503)),
        Shop::new(refuses, NEAR, says(200)),
    ] {
        let client = RetryLayer::new(HttpClassify::<Boxed>::new()).bodies(KeepBody::default());
        let client = client.layer(shop.client.clone());
        let order = Request::post("https://api.example/orders").body(Body::from("order"));
        assert!(!client.oneshot(order.unwrap()).await.unwrap().status().is_success());
        assert_eq!(shop.counts().0, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_is_sent_once_by_retries_around_whatever_fails() {
    let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
    let nested = service_fn(move |_: Request<Body>| ready(Err::<Response<Body>, _>(refused())));
    let nested = Client::builder().no_retry().build_over(nested).unwrap();
    let url = "https://api.example/orders";
    let nested = nested.get(url.to_owned()).send().await.unwrap_err();
    let errors: [BoxError; 3] = [
        Box::new(nested),
        Fault::new(ErrorKind::Closed, "no way").unsent().into(),
        Fault::new(ErrorKind::Tls, "no way").unsent().permanent().into(),
    ];
    for error in errors {
        // An error is given once.
        let error = Mutex::new(Some(error));
        let fails = move |_: &Request<Body>| Err(error.lock().unwrap().take().unwrap());
        let shop = Shop::new(|client| client.no_retry(), NEAR, fails);
        let retry = RetryLayer::new(HttpClassify::<Boxed>::new()).bodies(KeepBody::default());
        // The second one is idempotent, and its failure permanent.
        let order = Request::post(url).body(Body::from("order")).unwrap();
        retry.layer(shop.client.clone()).oneshot(order).await.unwrap_err();
        assert_eq!(shop.counts(), (1, 1));
    }
}

#[tokio::test]
async fn an_error_of_this_crate_is_what_it_is_wherever_it_arose() {
    let inner = Client::builder().build_over(service_fn(|_| ready(led("https://api.example/x"))));
    let inner = inner.unwrap();
    let shop =
        Shop::new(identity, NEAR, move |_| Err(inner.get("/no base").build().unwrap_err().into()));
    let error = shop.client.post("/orders").send().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Request);
}

use std::{convert::Infallible, future::poll_fn, task::Poll, time::Duration};

use http::{HeaderValue, Request, Response, Uri, header::ACCEPT_ENCODING};
use palisade_auth::Bearer;
use palisade_circuit_breaker::CircuitBreakerLayer;
use palisade_client::{Body, Client};
use palisade_core::{ByAuthority, Origins};
use palisade_metrics::Registry;
use palisade_rate_limit::{ConcurrencyLimitLayer, Quota, RateLimitLayer};
use palisade_retry::RetryLayer;
use tower::{Service, service_fn};

use crate::observed::tokens;

/// Answers when it is polled a second time.
async fn pending_once(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    let mut polled = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
    Ok(Response::new(Body::empty()))
}

/// A request that carries nothing but itself.
fn plain(_: &Client) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = Uri::from_static("https://api.example/users");
    request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    request
}

/// The same as a client makes it: it names its endpoint.
fn named(client: &Client) -> Request<Body> {
    client.get("/users").header(ACCEPT_ENCODING, "gzip").build().unwrap()
}

fn measure(mut client: Client, request: fn(&Client) -> Request<Body>) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut least = u64::MAX;
    for _ in 0..100 {
        let request = request(&client);
        let info = allocation_counter::measure(|| {
            runtime.block_on(async { client.call(request).await.unwrap() });
        });
        least = least.min(info.count_total);
    }
    least
}

#[test]
fn success_allocates_what_is_known() {
    let registry = Registry::new();
    let auth = || Bearer::new("t0ken").unwrap();
    let origins = || Origins::new(["https://api.example"]);
    let bare = || {
        let client = Client::builder().no_retry().no_circuit_breaker().redirects(0);
        client.attempt_timeout(None).total_timeout(None).no_decompression()
    };
    // That of the service's future, and that of its body; neither is there over
    // connections of the client's own.
    let foreign = 2;
    // The stack's own future.
    let own = 1;
    for (what, client, more) in [
        ("bare", bare(), 0),
        // The copy of the head.
        ("retry", bare().retry(RetryLayer::http()), 1),
        ("breaker", bare().circuit_breaker(CircuitBreakerLayer::http().keyed(ByAuthority)), 0),
        ("timeout", bare().attempt_timeout(Duration::from_secs(30)), 0),
        ("auth", bare().auth(auth(), origins()), 0),
        // What is sent with another token is the copy of the head, and the box that it is in.
        ("tokens", bare().auth(tokens(), origins()), 2),
        ("metrics", bare().metrics(&registry), 0),
        // One copy of the head in case of a retry, one in case of a redirect.
        ("default", Client::builder(), 2),
        (
            "full",
            Client::builder()
                .metrics(&registry)
                .rate_limit(RateLimitLayer::new(Quota::per_second(1_000_000)))
                .concurrency_limit(ConcurrencyLimitLayer::new(100))
                .auth(auth(), origins()),
            2,
        ),
        (
            "full with tokens",
            Client::builder()
                .metrics(&registry)
                .rate_limit(RateLimitLayer::new(Quota::per_second(1_000_000)))
                .concurrency_limit(ConcurrencyLimitLayer::new(100))
                .auth(tokens(), origins()),
            4,
        ),
    ] {
        let client = client.base_url("https://api.example");
        let client = client.build_over(service_fn(pending_once)).unwrap();
        for request in [plain, named] {
            assert_eq!(measure(client.clone(), request), foreign + own + more, "{what}");
        }
    }
}

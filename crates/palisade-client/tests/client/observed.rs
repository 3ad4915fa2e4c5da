//! Whom layers tell what they do, whoever has made them.

use std::{sync::Arc, time::Duration};

use http::{Request, Response};
use palisade_auth::{AuthLayer, Token, TokenFuture, TokenSource, Tokens, Wanted};
use palisade_cache::{HttpCacheLayer, MemoryStore};
use palisade_circuit_breaker::{CircuitBreakerLayer, Trip};
use palisade_client::{Body, Client, ClientBuilder};
use palisade_core::{BoxError, ByAuthority, Observer, Origins};
use palisade_metrics::Registry;
use palisade_rate_limit::{ConcurrencyLimitLayer, Quota, RateLimitLayer, Wait};
use palisade_retry::RetryLayer;
use palisade_testkit::RecordingObserver;
use tower::{ServiceExt, service_fn};

use crate::servers::get;

struct Always;

impl TokenSource for Always {
    fn fetch<'a>(&'a self, _: Wanted<'a>) -> TokenFuture<'a> {
        Box::pin(async { Ok(Token::bearer("t0ken").unwrap()) })
    }
}

pub(crate) fn tokens() -> Tokens {
    Tokens::new(Always)
}

fn origins() -> Origins {
    Origins::new(["https://api.example"])
}

fn once() -> CircuitBreakerLayer<palisade_core::HttpClassify<palisade_core::Boxed>> {
    CircuitBreakerLayer::http().trip(Trip::consecutive(1))
}

fn quota() -> RateLimitLayer {
    RateLimitLayer::new(Quota::per_minute(1).burst(1)).wait(Wait::reject())
}

fn cache() -> HttpCacheLayer<MemoryStore> {
    HttpCacheLayer::private(MemoryStore::new(1 << 20))
}

/// Two calls to an API that is down, and answers late.
async fn call(client: ClientBuilder) {
    let down = service_fn(|_: Request<Body>| async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Ok::<_, BoxError>(Response::builder().status(503).body(Body::empty())?)
    });
    let client = client.build_over(down).unwrap();
    let call = || client.clone().oneshot(get("https://api.example/users"));
    let _ = tokio::join!(call(), call());
}

/// Gives a layer to a client: of the type that is expected at its place, or of another one.
type Give = fn(ClientBuilder) -> ClientBuilder;

const LAYERS: [(&str, Give); 12] = [
    ("retry", |client| client),
    ("retry", |client| client.retry(RetryLayer::http())),
    ("retry", |client| client.retry(RetryLayer::http().budget(palisade_retry::Unlimited))),
    ("transition", |client| client.circuit_breaker(once())),
    ("transition", |client| client.circuit_breaker(once().keyed(ByAuthority))),
    ("refused", |client| client.no_retry().rate_limit(quota())),
    ("refused", |client| client.no_retry().rate_limit(quota().keyed(ByAuthority))),
    ("waited", |client| client.concurrency_limit(ConcurrencyLimitLayer::new(1))),
    ("waited", |client| client.concurrency_limit(ConcurrencyLimitLayer::new(1).keyed(ByAuthority))),
    ("cache", |client| client.cache(cache())),
    ("refreshed", |client| client.auth(tokens(), origins())),
    ("refused", |client| {
        client.auth_layer(
            AuthLayer::new(tokens(), Origins::new(["https://else.example"])).fail_outside(),
        )
    }),
];

#[tokio::test(start_paused = true)]
async fn all_layers_tell_the_registry() {
    for (number, (event, give)) in LAYERS.into_iter().enumerate() {
        // Whether that comes before or after.
        for first in [true, false] {
            let registry = Registry::new();
            let client = Client::builder();
            let client = match first {
                true => give(client.metrics(&registry)),
                false => give(client).metrics(&registry),
            };
            call(client).await;
            let told = registry.snapshot().events;
            assert!(told.iter().any(|told| told.event == event), "{number}: {event} in {told:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_of_a_layers_own_stays() {
    let registry = Registry::new();
    let own = Arc::new(RecordingObserver::new());
    let observer = || -> Arc<dyn Observer> { own.clone() };
    let gives: [&dyn Fn(ClientBuilder) -> ClientBuilder; 6] = [
        &|client| client.retry(RetryLayer::http().observer(observer())),
        &|client| client.circuit_breaker(once().observer(observer())),
        &|client| client.rate_limit(quota().observer(observer())),
        &|client| client.concurrency_limit(ConcurrencyLimitLayer::new(1).observer(observer())),
        &|client| client.cache(cache().observer(observer())),
        &|client| client.auth(tokens().observer(observer()), origins()),
    ];
    for (number, give) in gives.into_iter().enumerate() {
        // No other layer has anything to tell.
        let client = Client::builder().no_retry().no_circuit_breaker().metrics(&registry);
        call(give(client)).await;
        assert!(!own.take().is_empty(), "{number}");
        assert!(registry.snapshot().events.is_empty(), "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_of_a_layer_before_is_still_of_it() {
    let (breaker, limit) = (once().keyed(ByAuthority), quota().keyed(ByAuthority));
    let (breakers, limiters) = (breaker.breakers(), limit.limiters());
    let client = Client::builder().metrics(&Registry::new());
    call(client.circuit_breaker(breaker).rate_limit(limit)).await;
    let host = Some("api.example".to_owned());
    assert!(breakers.get(&host).is_some());
    assert!(limiters.get(&host).is_some());
}

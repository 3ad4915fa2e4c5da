//! The part to copy.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::{client::legacy, rt::TokioExecutor};
use palisade::{
    Client,
    auth::{ClientAuth, ClientCredentials, TokenEndpoint, Tokens},
    cache::{HttpCacheLayer, MemoryStore},
    circuit_breaker::{CircuitBreakerLayer, Jitter, Trip},
    client::{Error, InvalidClient},
    core::{ByAuthority, ByEndpoint, Observer, Origins},
    metrics::Registry,
    rate_limit::{Feedback, Quota, RateLimitLayer},
    retry::{Backoff, RetryLayer},
};

use crate::scene::{Item, Wanted};

/// All layers, each of which tells an observer what it does.
pub(crate) fn build(
    origin: &str,
    metrics: &Registry,
    observer: Arc<dyn Observer>,
) -> Result<Client, InvalidClient> {
    let http = legacy::Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let endpoint = TokenEndpoint::new(&format!("{origin}/token"), http);
    let login = ClientCredentials::new(endpoint, ClientAuth::basic("tour", "secret"));

    // Shorter than by default, as nobody watches an example for a minute.
    let open_for = Backoff::exponential(Duration::from_secs(1)).max(Duration::from_secs(2));
    let open_for = open_for.jitter(Jitter::Equal);

    Client::builder()
        .base_url(origin)
        .no_proxy()
        .metrics(metrics)
        .observer(observer)
        .cache(HttpCacheLayer::private(MemoryStore::new(16 << 20)))
        // More than by default: this API fails at random, too, when it is up.
        .retry(RetryLayer::http().attempts(5))
        // Sooner than by default, as it has less to go by: the rate is limited, and hits are not sent.
        .circuit_breaker(
            CircuitBreakerLayer::http()
                .keyed(ByAuthority)
                .trip(Trip::consecutive(5).or(Trip::failure_rate(0.5)))
                .open_for(open_for),
        )
        // It knows no quota: it learns from what the API says of it.
        .rate_limit(
            RateLimitLayer::new(Quota::UNLIMITED).keyed(ByEndpoint).learn(Feedback::standard()),
        )
        .auth(Tokens::new(login), Origins::new([origin]))
        .build()
}

/// The item, or the status or the kind of the error.
pub(crate) async fn get(client: Client, wanted: Wanted) -> Result<Item, String> {
    let request = match wanted {
        Wanted::Article(id) => client.get("/articles/{id}").path("id", id),
        Wanted::Orders(page) => client.get("/orders").query(&[("page", page)]),
    };
    let response = request.send().await.map_err(|error| cause(&error))?;
    response.json().await.map_err(|error| cause(&error))
}

fn cause(error: &Error) -> String {
    match (error.status(), error.service_kind()) {
        (Some(status), _) if !status.is_success() => status.as_str().to_owned(),
        (_, Some(kind)) => kind.to_string(),
        _ => error.to_string(),
    }
}

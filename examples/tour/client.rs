//! The part to copy.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::{client::legacy, rt::TokioExecutor};
use palisade::{
    Client,
    auth::{ClientAuth, ClientCredentials, TokenEndpoint, Tokens},
    cache::{HttpCacheLayer, MemoryStore},
    circuit_breaker::{CircuitBreakerLayer, HalfOpen},
    client::{Error, InvalidClient},
    core::{ByAuthority, ByEndpoint, Observer, Origins},
    metrics::Registry,
    rate_limit::{Feedback, Quota, RateLimitLayer},
    retry::{Backoff, Jitter, RetryLayer, TokenBudget},
};

use crate::scene::{Item, Wanted};

/// For how long a call may wait for an API that is down, and for its turn.
const PATIENCE: Duration = Duration::from_secs(15);

/// All layers, each of which tells an observer what it does.
pub(crate) fn build(
    origin: &str,
    metrics: &Registry,
    observer: &Arc<dyn Observer>,
) -> Result<Client, InvalidClient> {
    // Shorter than by default, as nobody watches an example for a minute.
    let open_for = Backoff::exponential(Duration::from_millis(400)).max(Duration::from_millis(800));
    let http = legacy::Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let endpoint = TokenEndpoint::new(&format!("{origin}/token"), http);
    let login = ClientCredentials::new(endpoint, ClientAuth::basic("tour", "secret"));

    Client::builder()
        .base_url(origin)
        .no_proxy()
        .total_timeout(PATIENCE)
        .metrics(metrics)
        .cache(HttpCacheLayer::private(MemoryStore::new(16 << 20)).observer(observer.clone()))
        // An API that is down is waited for, and each look at whether it is back is an attempt: so
        // there are more of them than by default, and a larger budget.
        .retry(
            RetryLayer::http()
                .attempts(20)
                .budget(TokenBudget::new(2.0, 2_000))
                .deadline(PATIENCE)
                .observer(observer.clone()),
        )
        // One call in three may fail when the API is back, as some always do.
        .circuit_breaker(
            CircuitBreakerLayer::http()
                .keyed(ByAuthority)
                .open_for(open_for.jitter(Jitter::None))
                .half_open(HalfOpen::permits(3).success_ratio(0.6))
                .observer(observer.clone()),
        )
        // It knows no quota: it learns from what the API says of it.
        .rate_limit(
            RateLimitLayer::new(Quota::UNLIMITED)
                .keyed(ByEndpoint)
                .learn(Feedback::standard())
                .observer(observer.clone()),
        )
        .auth(Tokens::new(login).observer(observer.clone()), Origins::new([origin]))
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

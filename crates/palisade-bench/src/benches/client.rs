use std::time::Duration;

use http::Request;
use palisade_auth::Bearer;
use palisade_client::{Client, ClientBuilder};
use palisade_core::Origins;
use palisade_metrics::Registry;
use palisade_rate_limit::{ConcurrencyLimitLayer, Quota, RateLimitLayer};
use tower::{Layer, Service, ServiceExt};

use crate::{
    inner::{Body, Later},
    request,
    subject::{BARE, Subject},
    subjects,
};

/// A GET that is answered at the second poll, through all layers but the cache.
///
/// The peer is one layer of the seven.
pub(super) fn stack() -> Vec<Subject> {
    let peer = subjects::tower_resilience::retry(3, Duration::ZERO).layer(Later);
    vec![
        Subject::pending(BARE, Later, get),
        Subject::pending("palisade", over_bodies(full()), get),
        Subject::pending("palisade-default", over_bodies(Client::builder()), get),
        Subject::pending("tower-resilience-retry", peer, get),
    ]
}

/// Without credentials of its own.
fn get() -> Request<Body> {
    request::cacheable("https://api.example/users")
}

fn full() -> ClientBuilder {
    let bearer = Bearer::new("t0ken").expect("it can be a token");
    Client::builder()
        .metrics(&Registry::new())
        .rate_limit(RateLimitLayer::new(Quota::per_second(1_000_000_000).burst(1_000_000)))
        .concurrency_limit(ConcurrencyLimitLayer::new(100))
        .auth(bearer, Origins::any())
}

fn over_bodies(
    client: ClientBuilder,
) -> impl Service<
    Request<Body>,
    Response = http::Response<palisade_client::ResponseBody>,
    Error = palisade_core::BoxError,
> + 'static {
    let client = client.build_over(Later).expect("it has no settings of its own");
    client.map_request(|request: Request<Body>| request.map(|_| palisade_client::Body::empty()))
}

//! The client as a whole.

pub(in crate::benches) mod loopback;
pub(in crate::benches) mod stack;

use palisade_auth::Bearer;
use palisade_cache::{HttpCacheLayer, MemoryStore};
use palisade_client::{Client, ClientBuilder};
use palisade_core::Origins;
use palisade_metrics::Registry;
use palisade_rate_limit::{ConcurrencyLimitLayer, Quota, RateLimitLayer};

/// All layers there are. None of them refuses anything.
fn full() -> ClientBuilder {
    let bearer = Bearer::new("t0ken").expect("it can be a token");
    Client::builder()
        .metrics(&Registry::new())
        .cache(HttpCacheLayer::private(MemoryStore::new(32 << 20)))
        .rate_limit(RateLimitLayer::new(Quota::per_second(1_000_000_000).burst(1_000_000)))
        .concurrency_limit(ConcurrencyLimitLayer::new(100))
        .auth(bearer, Origins::any())
}

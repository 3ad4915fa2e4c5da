use std::time::Duration;

use tower_http_cache::{
    CacheLayer, StreamingPolicy, policy::CachePolicy, prelude::InMemoryBackend,
};

/// `tower-http-cache` in memory, for bodies of any size. It keeps everything for the same time.
pub(crate) fn layer(places: u64) -> CacheLayer<InMemoryBackend> {
    let streaming = StreamingPolicy { max_cacheable_size: None, ..StreamingPolicy::default() };
    let policy =
        CachePolicy::default().with_ttl(Duration::from_secs(3600)).with_streaming_policy(streaming);
    CacheLayer::builder(InMemoryBackend::new(places)).policy(policy).build()
}

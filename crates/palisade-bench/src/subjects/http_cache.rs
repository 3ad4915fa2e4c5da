use http_cache_quickcache::QuickManager;
use http_cache_tower::HttpCacheLayer;
use quick_cache::sync::Cache;

/// `http-cache-tower` with the fastest of its managers.
pub(crate) fn layer(places: usize) -> HttpCacheLayer<QuickManager> {
    HttpCacheLayer::new(QuickManager::new(Cache::new(places)))
}

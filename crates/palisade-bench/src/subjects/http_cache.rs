use http_cache_quickcache::QuickManager;
use http_cache_reqwest::{CacheMode, HttpCache, HttpCacheOptions};
use http_cache_tower::HttpCacheLayer;
use quick_cache::sync::Cache;

/// `http-cache-tower` with the fastest of its managers.
pub(crate) fn layer(places: usize) -> HttpCacheLayer<QuickManager> {
    HttpCacheLayer::new(manager(places))
}

/// `http-cache-reqwest` with the same manager.
pub(crate) fn middleware(places: usize) -> http_cache_reqwest::Cache<QuickManager> {
    http_cache_reqwest::Cache(HttpCache {
        mode: CacheMode::Default,
        manager: manager(places),
        options: HttpCacheOptions::default(),
    })
}

fn manager(places: usize) -> QuickManager {
    QuickManager::new(Cache::new(places))
}

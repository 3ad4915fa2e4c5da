//! Requests that may change what is stored for others: RFC 9111, section 4.4.

use std::iter;

use http::{HeaderMap, Method, StatusCode, Uri};

use super::{
    key::CacheKeyRef,
    partition::{COMMON, CachePartition},
    settings::Core,
    store::Store,
};
use crate::rules::location;

/// A request of a method that is not safe, kept while it is sent on.
pub(crate) struct Write {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) partition: CachePartition,
}

impl Write {
    /// It was answered like this.
    pub(crate) fn answered<T: Store>(
        &self,
        core: &Core<T>,
        status: StatusCode,
        headers: &HeaderMap,
    ) {
        invalidate(core, &self.method, &self.uri, &self.partition, status, headers);
    }
}

/// What a write has made invalid is not used any more, and nobody joins who fetches it.
pub(crate) fn invalidate<T: Store>(
    core: &Core<T>,
    method: &Method,
    uri: &Uri,
    partition: &CachePartition,
    status: StatusCode,
    headers: &HeaderMap,
) {
    let settings = &core.settings;
    let uris = location::invalidated(method, uri, status, headers);
    for uri in uris.iter().flat_map(|uri| settings.keyed(uri)) {
        let key = CacheKeyRef::new(partition, &uri, None, settings.shared);
        let for_all = (*partition != COMMON).then(|| key.within(&COMMON));
        for key in iter::once(key).chain(for_all) {
            core.store.invalidate(key);
            core.flights.forget(key);
        }
    }
}

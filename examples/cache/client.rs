//! The part to copy.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use palisade::cache::{CachedBody, HttpCacheLayer, MemoryStore};
use tower::{BoxError, ServiceBuilder, util::BoxCloneSyncService};

pub(crate) type Body = BoxBody<Bytes, BoxError>;
pub(crate) type ApiClient = BoxCloneSyncService<Request<Full<Bytes>>, Response<Body>, BoxError>;

/// hyper's client alone.
pub(crate) fn bare() -> ApiClient {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let client = ServiceBuilder::new()
        .map_err(Into::into)
        .map_response(|response: Response<hyper::body::Incoming>| {
            response.map(|body| body.map_err(Into::into).boxed())
        })
        .service(client);
    BoxCloneSyncService::new(client)
}

/// The same, with up to 16 MiB of what the API allows to keep.
pub(crate) fn cached() -> ApiClient {
    let client = ServiceBuilder::new()
        .map_response(tell)
        .layer(HttpCacheLayer::private(MemoryStore::new(16 << 20)))
        .service(bare());
    BoxCloneSyncService::new(client)
}

/// Leaves word with the response of what the cache did, for the body goes into a box.
fn tell(mut response: Response<CachedBody<Body>>) -> Response<Body> {
    let status = response.body().cache_status();
    response.extensions_mut().insert(status);
    response.map(BodyExt::boxed)
}

//! The part to copy.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use palisade::{
    core::ByAuthority,
    rate_limit::{Feedback, Quota, RateLimitLayer, Wait},
};
use tower::{BoxError, ServiceBuilder, util::BoxCloneSyncService};

pub(crate) type ApiClient =
    BoxCloneSyncService<Request<Full<Bytes>>, Response<BoxBody<Bytes, BoxError>>, BoxError>;

/// hyper's client alone.
pub(crate) fn bare() -> ApiClient {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let client = ServiceBuilder::new().map_err(Into::into).map_response(boxed).service(client);
    BoxCloneSyncService::new(client)
}

/// The same, never faster than the API allows: not above the quota in any second.
pub(crate) fn limited(quota: Quota) -> ApiClient {
    let client = ServiceBuilder::new()
        .layer(RateLimitLayer::new(quota).wait(Wait::forever()).keyed(ByAuthority))
        .service(bare());
    BoxCloneSyncService::new(client)
}

/// The same, that knows no quota: it learns from what the API says of it.
pub(crate) fn learning() -> ApiClient {
    let limit = RateLimitLayer::new(Quota::UNLIMITED).wait(Wait::forever());
    let client = ServiceBuilder::new()
        .layer(limit.keyed(ByAuthority).learn(Feedback::standard()))
        .service(bare());
    BoxCloneSyncService::new(client)
}

fn boxed(response: Response<hyper::body::Incoming>) -> Response<BoxBody<Bytes, BoxError>> {
    response.map(|body| body.map_err(Into::into).boxed())
}

//! The part to copy.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use palisade::{
    auth::{AuthLayer, ClientAuth, RefreshToken, TokenEndpoint, Tokens},
    core::{Attempt, Origins},
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

/// The same, for somebody who has logged in: it keeps a token fresh, and sends again what was refused.
pub(crate) fn logged_in(origin: &str, refresh_token: &str, replays: Arc<AtomicU64>) -> ApiClient {
    let endpoint = TokenEndpoint::new(&format!("{origin}/token"), bare());
    let login = RefreshToken::new(endpoint, refresh_token).client(ClientAuth::none("example"));
    let client = ServiceBuilder::new()
        .layer(AuthLayer::new(Tokens::new(login), Origins::new([origin])))
        .map_request(move |request: Request<Full<Bytes>>| {
            let resends = Attempt::of(request.extensions()).resends();
            replays.fetch_add(resends.into(), Ordering::Relaxed);
            request
        })
        .service(bare());
    BoxCloneSyncService::new(client)
}

fn boxed(response: Response<hyper::body::Incoming>) -> Response<BoxBody<Bytes, BoxError>> {
    response.map(|body| body.map_err(Into::into).boxed())
}

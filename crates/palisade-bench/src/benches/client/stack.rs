use std::time::Duration;

use http::{HeaderValue, Request, Response, header::CACHE_CONTROL};
use palisade_client::{Client, ClientBuilder, ResponseBody};
use palisade_core::BoxError;
use tower::{Layer, Service, ServiceExt};

use super::full;
use crate::{
    inner::{Body, Later},
    request,
    subject::{BARE, Subject},
    subjects,
};

/// A GET that is answered at the second poll, through all layers. The cache has no part in it.
///
/// The peer is one layer of the eight.
pub(in crate::benches) fn stack() -> Vec<Subject> {
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
    let mut request = request::cacheable("https://api.example/users");
    request.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    request
}

fn over_bodies(
    client: ClientBuilder,
) -> impl Service<Request<Body>, Response = Response<ResponseBody>, Error = BoxError> + 'static {
    let client = client.build_over(Later).expect("it has no settings of its own");
    client.map_request(|request: Request<Body>| request.map(|_| palisade_client::Body::empty()))
}

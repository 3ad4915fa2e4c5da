use std::{
    cell::Cell,
    net::{IpAddr, Ipv4Addr},
};

use http::Request;
use palisade_core::ByExtension;
use palisade_rate_limit::{Keyed, Quota, RateLimitLayer};
use tower::Layer;
use tower_governor::{
    GovernorError, GovernorLayer, governor::GovernorConfigBuilder, key_extractor::KeyExtractor,
};
use tower_service::Service;

use crate::{
    inner::{Body, Served},
    request,
    subject::{BARE, Subject, at_once},
};

const MILLION: u32 = 1_000_000;

/// A call that is permitted, by the limit of its client, of which there is one.
pub(in crate::benches) fn one() -> Vec<Subject> {
    subjects(1)
}

/// The same of a hundred thousand clients, in random order.
pub(in crate::benches) fn many() -> Vec<Subject> {
    subjects(100_000)
}

/// On a server, for tower_governor is for axum alone.
fn subjects(clients: u32) -> Vec<Subject> {
    let by_client = Keyed::by(ByExtension::<IpAddr>::default());
    let quota = Quota::per_second(MILLION).burst(MILLION);
    let palisade = RateLimitLayer::new(quota).scope(by_client).layer(Served);
    let config = GovernorConfigBuilder::default()
        .per_nanosecond(1000)
        .burst_size(MILLION)
        .key_extractor(ByClient)
        .finish()
        .expect("a valid limiter");
    let governor = GovernorLayer::new(config).layer(Served);
    // What is measured is not how a key comes in.
    let (mut palisade, mut governor) = (palisade, governor);
    for client in 0..clients {
        at_once(palisade.call(request_of(client))).expect("it is permitted");
        at_once(governor.call(request_of(client))).expect("it is permitted");
    }
    let request = || {
        let drawn = Cell::new(1_u32);
        move || request(&drawn, clients)
    };
    vec![
        Subject::answered(BARE, Served, request()),
        Subject::answered("palisade", palisade, request()),
        Subject::answered("tower_governor", governor, request()),
    ]
}

fn request(drawn: &Cell<u32>, clients: u32) -> Request<Body> {
    drawn.set(drawn.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let client = ((u64::from(drawn.get()) * u64::from(clients)) >> 32) as u32;
    request_of(client)
}

fn request_of(client: u32) -> Request<Body> {
    let mut request = request::get();
    request.extensions_mut().insert(IpAddr::V4(Ipv4Addr::from(client)));
    request
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ByClient;

impl KeyExtractor for ByClient {
    type Key = IpAddr;

    fn extract<T>(&self, request: &Request<T>) -> Result<IpAddr, GovernorError> {
        request.extensions().get().copied().ok_or(GovernorError::UnableToExtractKey)
    }
}

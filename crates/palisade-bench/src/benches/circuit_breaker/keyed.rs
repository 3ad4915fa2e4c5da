use std::rc::Rc;

use http::Request;
use palisade_core::ByAuthority;
use tower::Layer;

use super::palisade_by_count;
use crate::{
    inner::{Body, Healthy},
    request,
    subject::{BARE, Subject},
};

/// palisade's default for how many keys there are at most.
pub(super) const HOSTS: u32 = 10_000;

/// A call that succeeds, to one of 10,000 hosts that each have a breaker.
///
/// No peer has breakers by key: their users write the map.
pub(in crate::benches) fn calls() -> Vec<Subject> {
    let uris: Rc<[String]> = shuffled(HOSTS).map(uri).collect();

    let layer = palisade_by_count().keyed(ByAuthority);
    let breakers = layer.breakers();
    let mut palisade = Subject::immediate("palisade", layer.layer(Healthy), requests(&uris));
    palisade.call(HOSTS);
    assert_eq!(breakers.len(), HOSTS as usize, "every host has a breaker");

    let check = move || assert_eq!(breakers.overflowed(), 0, "a call had no breaker");
    vec![Subject::immediate(BARE, Healthy, requests(&uris)), palisade.prepared(check)]
}

/// Requests to one host after the other, for ever.
fn requests(uris: &Rc<[String]>) -> impl FnMut() -> Request<Body> + use<> {
    let uris = Rc::clone(uris);
    let mut next = 0;
    move || {
        let uri = &uris[next];
        next = (next + 1) % uris.len();
        request::get_of(uri)
    }
}

pub(super) fn uri(host: u32) -> String {
    format!("http://api-{host:05}.example/v1/items?page=2")
}

/// The numbers below this one, in an order that no cache foresees.
fn shuffled(count: u32) -> impl Iterator<Item = u32> {
    let mut numbers: Vec<_> = (0..count).collect();
    let mut random = 1_u64;
    for left in (1..numbers.len()).rev() {
        // Knuth's MMIX; its lower bits are poor.
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        numbers.swap(left, (random >> 33) as usize % (left + 1));
    }
    numbers.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffles_all_of_them() {
        let mut numbers: Vec<_> = shuffled(100).collect();
        assert!(!numbers.is_sorted());
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..100));
    }
}

use palisade_rate_limit::{Aimd, ConcurrencyLimitLayer, Gradient2};
use tower::{Layer, limit::ConcurrencyLimitLayer as TowerLayer};

use crate::{
    inner::Healthy,
    request,
    subject::{BARE, Subject},
};

const LIMIT: usize = 64;

/// A call that is permitted, and whose body is dropped. tower's permit ends with the head.
pub(in crate::benches) fn calls() -> Vec<Subject> {
    let fixed = ConcurrencyLimitLayer::new(LIMIT).layer(Healthy);
    let aimd = ConcurrencyLimitLayer::adaptive(Aimd::new(LIMIT)).layer(Healthy);
    let gradient = ConcurrencyLimitLayer::adaptive(Gradient2::new(LIMIT)).layer(Healthy);
    vec![
        Subject::immediate(BARE, Healthy, request::get),
        Subject::answered("palisade", fixed, request::get),
        Subject::answered("palisade-aimd", aimd, request::get),
        Subject::answered("palisade-gradient2", gradient, request::get),
        Subject::immediate("tower", TowerLayer::new(LIMIT).layer(Healthy), request::get),
    ]
}

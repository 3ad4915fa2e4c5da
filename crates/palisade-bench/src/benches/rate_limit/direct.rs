use std::time::Duration;

use palisade_rate_limit::{Quota, RateLimitLayer};
use tokio::runtime::Builder;
use tower::{Layer, limit::RateLimitLayer as TowerLayer};
use tower_resilience_ratelimiter::RateLimiterLayer;

use crate::{
    inner::Healthy,
    request,
    subject::{BARE, Subject},
    subjects::{governor, leaky_bucket},
};

/// A second of the fastest rate that all can be told.
const MILLION: u32 = 1_000_000;

/// A call that is permitted, by one limit for all.
pub(in crate::benches) fn calls() -> Vec<Subject> {
    let palisade = RateLimitLayer::new(Quota::per_second(MILLION).burst(MILLION)).layer(Healthy);
    // tower makes its timer before it needs one, which is never.
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let entered = runtime.enter();
    let tower = TowerLayer::new(u64::MAX, Duration::from_secs(1)).layer(Healthy);
    drop(entered);
    let resilience = RateLimiterLayer::builder()
        .limit_for_period(usize::MAX)
        .refresh_period(Duration::from_secs(1))
        .build()
        .expect("a valid limiter");
    vec![
        Subject::immediate(BARE, Healthy, request::get),
        Subject::immediate("palisade", palisade, request::get),
        Subject::immediate("governor", governor::service(MILLION, Healthy), request::get),
        Subject::immediate("tower", tower, request::get),
        Subject::immediate("tower-resilience", resilience.layer(Healthy), request::get),
        Subject::immediate("leaky-bucket", leaky_bucket::service(Healthy), request::get),
    ]
}

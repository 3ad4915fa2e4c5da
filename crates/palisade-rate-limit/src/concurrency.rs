//! The limit on requests in flight.

mod aimd;
mod algorithm;
mod bounds;
mod fixed;
mod future;
mod gradient2;
mod hold;
mod keyed;
mod layer;
mod limiter;
mod permit;
mod places;
mod scope;
mod service;
#[cfg(all(test, not(palisade_shuttle)))]
mod simulation;

pub use self::{
    aimd::Aimd,
    algorithm::{LimitAlgorithm, Sample, Verdict},
    fixed::Fixed,
    future::PermitFuture,
    gradient2::Gradient2,
    hold::{HoldPermit, PermitBody, UntilBodyEnd, UntilHead},
    keyed::{ConcurrencyLimiters, LimitPerKey},
    layer::{ConcurrencyLimitLayer, Unjudged},
    limiter::{AcquirePermit, ConcurrencyLimiter, ConcurrencySnapshot},
    permit::Permit,
    scope::{LimitOf, LimitScope, OneLimit},
    service::ConcurrencyLimit,
};

use std::fmt;

use crate::{Answered, Limiter, OnAnswer};

/// Says by an answer what a request cost in truth.
pub trait Settle<Res> {
    /// The number of tokens, if the answer tells.
    fn actual(&self, response: &Res) -> Option<u32>;
}

/// Settles what a request cost: made by
/// [`settle`](crate::RateLimitLayer::settle).
#[derive(Clone, Copy, Debug)]
pub struct Settling<S>(pub(crate) S);

/// A request that was sent for so many tokens.
#[derive(Debug)]
pub struct Unsettled {
    limiter: Limiter,
    cost: u32,
}

impl<S> OnAnswer for Settling<S> {
    type Ticket = Unsettled;

    fn sent(&self, limiter: &Limiter, cost: u32) -> Unsettled {
        Unsettled { limiter: limiter.clone(), cost }
    }
}

impl<Res, S: Settle<Res>> Answered<Res> for Settling<S> {
    fn answered(&self, Unsettled { limiter, cost }: Unsettled, response: &mut Res) {
        match self.0.actual(response) {
            Some(actual) if cost < actual => limiter.charge(actual - cost),
            Some(actual) if actual < cost => limiter.refund(cost - actual),
            _ => {}
        }
    }
}

/// Settles by a function of the answer: what was taken too much is refunded, and
/// what was taken too little is charged, there or not. Where it says nothing,
/// and where there is no answer, what was taken stays taken.
///
/// What an answer tells only in its body is settled by
/// [`charge`](Limiter::charge) and [`refund`](Limiter::refund).
///
/// ```
/// use http::Response;
/// use palisade_rate_limit::{Quota, RateLimitLayer, cost_fn, settle_fn};
///
/// // A thousand tokens of a language model are taken at first.
/// let layer = RateLimitLayer::new(Quota::per_minute(100_000))
///     .cost(cost_fn(|_: &http::Request<String>| 1000))
///     .settle(settle_fn(|response: &Response<String>| {
///         response.headers().get("x-tokens-used")?.to_str().ok()?.parse().ok()
///     }));
/// # let _ = layer;
/// ```
pub fn settle_fn<Res, F: Fn(&Res) -> Option<u32>>(actual: F) -> SettleFn<F> {
    SettleFn(actual)
}

/// Made by [`settle_fn`].
#[derive(Clone, Copy)]
pub struct SettleFn<F>(F);

impl<Res, F: Fn(&Res) -> Option<u32>> Settle<Res> for SettleFn<F> {
    fn actual(&self, response: &Res) -> Option<u32> {
        (self.0)(response)
    }
}

impl<F> fmt::Debug for SettleFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SettleFn(..)")
    }
}

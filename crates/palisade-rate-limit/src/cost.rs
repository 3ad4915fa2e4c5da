use std::fmt;

use http::Request;

/// Says how many tokens a request takes.
///
/// [`One`] for each by default; [`InExtensions`], or [`cost_fn`].
pub trait CostOf<Req> {
    /// The number of tokens. What takes none waits only where a limiter is
    /// paused or others wait.
    fn cost(&self, request: &Req) -> u32;
}

/// Each request takes one token. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct One;

impl<Req> CostOf<Req> for One {
    #[inline]
    fn cost(&self, _: &Req) -> u32 {
        1
    }
}

/// How many tokens a request takes, in its extensions: see [`InExtensions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost(pub u32);

/// A request takes what a [`Cost`] in its extensions says, and one without.
#[derive(Clone, Copy, Debug, Default)]
pub struct InExtensions;

impl<B> CostOf<Request<B>> for InExtensions {
    fn cost(&self, request: &Request<B>) -> u32 {
        request.extensions().get().map_or(1, |Cost(cost)| *cost)
    }
}

/// A request takes what a function says.
///
/// ```
/// use http::{Method, Request};
/// use palisade_rate_limit::{Quota, RateLimitLayer, cost_fn};
///
/// // As GitHub has it: what writes counts five times.
/// let layer = RateLimitLayer::new(Quota::per_minute(900)).cost(cost_fn(|request: &Request<String>| {
///     if request.method().is_safe() { 1 } else { 5 }
/// }));
/// # let _ = layer;
/// ```
pub fn cost_fn<Req, F: Fn(&Req) -> u32>(cost: F) -> CostFn<F> {
    CostFn(cost)
}

/// Made by [`cost_fn`].
#[derive(Clone, Copy)]
pub struct CostFn<F>(F);

impl<Req, F: Fn(&Req) -> u32> CostOf<Req> for CostFn<F> {
    fn cost(&self, request: &Req) -> u32 {
        (self.0)(request)
    }
}

impl<F> fmt::Debug for CostFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CostFn(..)")
    }
}

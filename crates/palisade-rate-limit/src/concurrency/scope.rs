use crate::{ConcurrencyLimiter, LimitAlgorithm};

/// Which limits a layer has: [`OneLimit`], for all requests, or
/// [`LimitPerKey`](crate::LimitPerKey).
pub trait LimitScope {
    /// These limits anew, with nothing in flight.
    fn renew(self) -> Self;
}

/// Finds the limiter of a request.
pub trait LimitOf<Req, A: LimitAlgorithm>: LimitScope {
    /// The limiter of this request: one like that of the layer, or that itself.
    fn limiter(&self, request: &Req, layers: &ConcurrencyLimiter<A>) -> ConcurrencyLimiter<A>;
}

/// One limit for all requests. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneLimit;

impl LimitScope for OneLimit {
    fn renew(self) -> Self {
        self
    }
}

impl<Req, A: LimitAlgorithm> LimitOf<Req, A> for OneLimit {
    #[inline]
    fn limiter(&self, _: &Req, layers: &ConcurrencyLimiter<A>) -> ConcurrencyLimiter<A> {
        layers.clone()
    }
}

use super::Ttl;

/// What becomes of errors of the inner service.
pub trait Errors<Res, Err> {
    /// What is kept, and given to everybody who waits for it.
    type Kept;

    /// What to keep of a result; otherwise, the error for who made the call.
    ///
    /// # Errors
    ///
    /// An error that goes to one caller alone.
    fn keep(&self, result: Result<Res, Err>) -> Result<Self::Kept, Err>;

    /// The result that was kept.
    ///
    /// # Errors
    ///
    /// The error that was kept.
    fn give(&self, kept: Self::Kept) -> Result<Res, Err>;

    /// How long to keep it, where that is known of responses.
    fn ttl(&self, kept: &Self::Kept, of_response: impl FnOnce(&Res) -> Ttl) -> Ttl;
}

/// An error goes to one caller, and another one calls again.
#[derive(Clone, Copy, Debug, Default)]
pub struct ToOne;

impl<Res, Err> Errors<Res, Err> for ToOne {
    type Kept = Res;

    #[inline]
    fn keep(&self, result: Result<Res, Err>) -> Result<Res, Err> {
        result
    }

    #[inline]
    fn give(&self, kept: Res) -> Result<Res, Err> {
        Ok(kept)
    }

    #[inline]
    fn ttl(&self, kept: &Res, of_response: impl FnOnce(&Res) -> Ttl) -> Ttl {
        of_response(kept)
    }
}

/// An error goes to everybody who waits for the call, and is kept like a
/// response. Made by [`CacheLayer::share_errors`](crate::CacheLayer::share_errors).
#[derive(Clone, Copy, Debug)]
pub struct ToAll {
    pub(crate) ttl: Ttl,
}

impl<Res, Err> Errors<Res, Err> for ToAll {
    type Kept = Result<Res, Err>;

    fn keep(&self, result: Result<Res, Err>) -> Result<Self::Kept, Err> {
        Ok(result)
    }

    fn give(&self, kept: Self::Kept) -> Result<Res, Err> {
        kept
    }

    fn ttl(&self, kept: &Self::Kept, of_response: impl FnOnce(&Res) -> Ttl) -> Ttl {
        kept.as_ref().map_or(self.ttl, of_response)
    }
}

use palisade_core::{Classify, Outcome};

use super::{ByRequest, Errors, Inline, Lifetime, OneEach, ToOne, Ttl, Weigh};

/// The strategies of a cache.
///
/// `B` keys requests ([`KeyOf`](crate::KeyOf)), `T` says how long responses are
/// kept ([`Lifetime`]), `W` weighs them ([`Weigh`]), `R` says what becomes of
/// errors ([`Errors`]), `J` what is a failure ([`Classify`]), and `X` who
/// gets new answers in place of old ones ([`Refresher`](crate::Refresher)).
#[derive(Clone, Copy, Debug, Default)]
pub struct Policy<B = ByRequest, T = Ttl, W = OneEach, R = ToOne, J = AnyError, X = Inline> {
    pub(crate) by: B,
    pub(crate) lifetime: T,
    pub(crate) weigh: W,
    pub(crate) errors: R,
    pub(crate) failures: J,
    pub(crate) background: X,
}

/// What a cache asks about the result of a call: all of a [`Policy`] that an
/// answer is judged by.
pub trait Judge<K, Res, Err> {
    /// What is kept.
    type Kept;

    /// Whether an answer that is past its time is better than this.
    fn failed(&self, result: Result<&Res, &Err>) -> bool;

    /// What to keep: see [`Errors::keep`].
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

    /// How long to keep it.
    fn ttl(&self, key: &K, kept: &Self::Kept) -> Ttl;

    /// How much of the budget it takes.
    fn weight(&self, key: &K, kept: &Self::Kept) -> u64;
}

impl<K, Res, Err, B, T, W, R, J, X> Judge<K, Res, Err> for Policy<B, T, W, R, J, X>
where
    T: Lifetime<K, Res>,
    W: Weigh<K, R::Kept>,
    R: Errors<Res, Err>,
    J: Classify<Res, Err>,
{
    type Kept = R::Kept;

    fn failed(&self, result: Result<&Res, &Err>) -> bool {
        let outcome = self.failures.classify(result);
        !matches!(outcome, Outcome::Success | Outcome::Rejected | Outcome::Ignored)
    }

    fn keep(&self, result: Result<Res, Err>) -> Result<R::Kept, Err> {
        self.errors.keep(result)
    }

    #[inline]
    fn give(&self, kept: R::Kept) -> Result<Res, Err> {
        self.errors.give(kept)
    }

    fn ttl(&self, key: &K, kept: &R::Kept) -> Ttl {
        self.errors.ttl(kept, |response| self.lifetime.ttl(key, response))
    }

    fn weight(&self, key: &K, kept: &R::Kept) -> u64 {
        self.weigh.weight(key, kept)
    }
}

/// Every error is a failure, and no response.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnyError;

impl<Res, Err> Classify<Res, Err> for AnyError {
    fn classify(&self, result: Result<&Res, &Err>) -> Outcome {
        match result {
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::Failed,
        }
    }
}

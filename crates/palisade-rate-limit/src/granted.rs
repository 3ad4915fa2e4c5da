use crate::Limit;

/// Tokens that were granted, and for which nothing was sent yet: dropped, they
/// go back.
#[derive(Debug)]
pub(crate) struct Granted<L: Limit> {
    limiter: L,
    // Until something is sent for them.
    cost: Option<u32>,
}

impl<L: Limit> Granted<L> {
    pub(crate) fn new(limiter: L, cost: u32) -> Self {
        Self { limiter, cost: Some(cost) }
    }

    pub(crate) fn limiter(&self) -> &L {
        &self.limiter
    }

    /// Something is sent for them.
    pub(crate) fn spend(mut self) {
        self.cost = None;
    }
}

impl<L: Limit> Drop for Granted<L> {
    fn drop(&mut self) {
        if let Some(cost) = self.cost {
            self.limiter.give_back(cost);
        }
    }
}

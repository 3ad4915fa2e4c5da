use crate::Limit;

/// Tokens that were granted, and for which nothing was sent yet: dropped, they
/// go back.
#[derive(Debug)]
pub(crate) struct Granted<L: Limit> {
    limiter: L,
    cost: u32,
}

impl<L: Limit> Granted<L> {
    pub(crate) fn new(limiter: L, cost: u32) -> Self {
        Self { limiter, cost }
    }

    pub(crate) fn limiter(&self) -> &L {
        &self.limiter
    }

    /// Something is sent for them.
    pub(crate) fn spend(mut self) {
        self.cost = 0;
    }
}

impl<L: Limit> Drop for Granted<L> {
    fn drop(&mut self) {
        if self.cost != 0 {
            self.limiter.give_back(self.cost);
        }
    }
}

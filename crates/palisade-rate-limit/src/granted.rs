use std::sync::Arc;

use crate::shared::Shared;

/// Tokens that were granted, and for which nothing was sent yet: dropped, they
/// go back.
#[derive(Debug)]
pub(crate) struct Granted {
    shared: Arc<Shared>,
    cost: u32,
}

impl Granted {
    pub(crate) fn new(shared: Arc<Shared>, cost: u32) -> Self {
        Self { shared, cost }
    }

    /// Something is sent for them.
    pub(crate) fn spend(mut self) {
        self.cost = 0;
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        if self.cost != 0 {
            self.shared.limits.give_back(self.cost);
            self.shared.wake_first();
        }
    }
}

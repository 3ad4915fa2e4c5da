use std::{sync::Arc, task::Wake};

use super::line::Line;
use crate::sync::{Mutex, MutexGuard, lock};

/// Rung by a call that several wait for when it can go on.
///
/// It wakes all of them: whoever drove the call before may never be polled again,
/// as the loser of a select, and nobody can know that. The first who comes goes
/// on with the call, and the others see that it does, or has.
#[derive(Default)]
pub(crate) struct Bell {
    line: Mutex<Line>,
}

impl Bell {
    pub(crate) fn line(&self) -> MutexGuard<'_, Line> {
        lock(&self.line)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let woken = self.line().ring();
        woken.wake();
    }
}

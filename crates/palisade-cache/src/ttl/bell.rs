use std::{
    sync::Arc,
    task::{Wake, Waker},
};

use crate::sync::{Mutex, lock};

/// Between a call that several wait for and the one of them who drives it: rung
/// by the call, it wakes that one alone, and remembers it until somebody has
/// come.
#[derive(Default)]
pub(crate) struct Bell {
    rope: Mutex<Rope>,
}

#[derive(Default)]
struct Rope {
    rung: bool,
    // Who is to be woken, until it is.
    driver: Option<Waker>,
}

impl Bell {
    /// Says who is woken from now on. What was rung before is forgotten.
    pub(crate) fn attend(&self, waker: &Waker) {
        let mut rope = lock(&self.rope);
        rope.rung = false;
        rope.driver = Some(waker.clone());
    }

    /// Whether it was rung and nobody has come since; who asks is to come, and
    /// is woken from now on. If it was not rung, only the driver's waker is taken.
    pub(crate) fn answer(&self, waker: &Waker, drives: bool) -> bool {
        let mut rope = lock(&self.rope);
        let rung = std::mem::take(&mut rope.rung);
        if rung || drives {
            rope.driver = Some(waker.clone());
        }
        rung
    }

    /// Says who is woken from now on in place of a driver that has left. Returns
    /// the waker, if it is to be woken now.
    pub(crate) fn hand_over(&self, waker: Waker) -> Option<Waker> {
        let mut rope = lock(&self.rope);
        match rope.rung {
            true => Some(waker),
            false => {
                rope.driver = Some(waker);
                None
            }
        }
    }

    fn ring(&self) {
        let driver = {
            let mut rope = lock(&self.rope);
            rope.rung = true;
            rope.driver.take()
        };
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

//! What threads share: std's, or that of shuttle where a model tries it in
//! other orders.

#[cfg(all(test, palisade_shuttle))]
pub(crate) use shuttle::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize},
};
#[cfg(not(all(test, palisade_shuttle)))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize},
};

use std::sync::PoisonError;

/// What panics under a lock leaves whole what the lock is for.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, palisade_shuttle))]
pub(crate) use self::bell::Bell;

/// How a model waits to be woken.
#[cfg(all(test, palisade_shuttle))]
mod bell {
    use std::{sync::Arc, task::Wake};

    use shuttle::sync::{Condvar, Mutex};

    /// Lets a thread go on when it is rung, and not before: `park` may return
    /// without a reason, and who was never woken would not be missed.
    #[derive(Default)]
    pub(crate) struct Bell {
        rung: Mutex<bool>,
        changed: Condvar,
    }

    impl Bell {
        pub(crate) fn wait(&self) {
            let mut rung = self.rung.lock().expect("nobody panics");
            while !*rung {
                rung = self.changed.wait(rung).expect("nobody panics");
            }
            *rung = false;
        }
    }

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            *self.rung.lock().expect("nobody panics") = true;
            self.changed.notify_one();
        }
    }
}

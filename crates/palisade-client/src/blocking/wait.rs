use std::{
    sync::{Arc, Mutex, PoisonError},
    thread::{self, Thread},
};

/// Where one thread waits for what another one puts there.
pub(crate) struct Slot<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    waiter: Thread,
}

enum State<T> {
    Waiting,
    Filled(T),
    /// Nobody will fill it.
    Over,
}

impl<T> Slot<T> {
    /// A slot for which this thread waits.
    pub(crate) fn new(waiter: Thread) -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::new(State::Waiting), waiter }) }
    }

    /// Who fills it: take it once.
    pub(crate) fn filler(&self) -> Filler<T> {
        Filler { shared: Arc::clone(&self.shared) }
    }
}

/// Fills a slot, or says with its end that nobody will.
pub(crate) struct Filler<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Filler<T> {
    pub(crate) fn fill(self, value: T) {
        *self.shared.state.lock().unwrap_or_else(PoisonError::into_inner) = State::Filled(value);
    }
}

impl<T> Drop for Filler<T> {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Waiting) {
            *state = State::Over;
        }
        drop(state);
        self.shared.waiter.unpark();
    }
}

/// Blocks this thread until the slot is filled. `None`, if nobody will fill it.
pub(crate) fn wait<T>(slot: &Slot<T>) -> Option<T> {
    loop {
        let mut state = slot.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Over) {
            State::Filled(value) => return Some(value),
            State::Over => return None,
            State::Waiting => *state = State::Waiting,
        }
        drop(state);
        // It may wake for nothing.
        thread::park();
    }
}

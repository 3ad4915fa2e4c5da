use std::{
    future::pending,
    io,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use tokio::{
    runtime::{Builder, Handle},
    task::coop::consume_budget,
};

use crate::{Error, call::Call, error::Fact};

/// Lets a thread wait for futures, which it polls itself: the shared thread has their
/// sockets and timers.
pub(crate) struct Waiter {
    runtime: Handle,
}

/// Why a thread cannot wait.
pub(crate) enum CannotWait {
    InsideRuntime,
    NoThread(io::Error),
}

impl CannotWait {
    /// Why nothing came of a call.
    pub(crate) fn at(self, call: Option<&Call>) -> Error {
        Error::new(Fact::Blocking(self), call.cloned(), None)
    }
}

impl Waiter {
    pub(crate) fn new() -> Result<Self, CannotWait> {
        if inside_runtime() {
            return Err(CannotWait::InsideRuntime);
        }
        runtime().map(|runtime| Self { runtime }).map_err(CannotWait::NoThread)
    }

    /// Blocks until the future is ready.
    pub(crate) fn wait<F: Future>(&self, future: F) -> F::Output {
        let _entered = self.runtime.enter();
        // Dropped before the runtime is left: what is dropped may start tasks.
        let mut future = pin!(future);
        let unpark = Arc::new(Unpark { thread: thread::current(), woken: AtomicBool::new(false) });
        let waker = Waker::from(Arc::clone(&unpark));
        let mut cx = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return output;
            }
            while !unpark.woken.swap(false, Ordering::Acquire) {
                thread::park();
            }
        }
    }
}

struct Unpark {
    thread: Thread,
    // A thread remembers one call of `unpark`, and whoever parks within a poll takes that: a
    // channel does, or a call within a call.
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Drops what is left of a call: that may start tasks, and so wants the runtime.
pub(crate) fn drop_within<T>(value: T) {
    let runtime = lock().as_ref().map(|shared| shared.runtime.clone());
    let _entered = runtime.as_ref().map(Handle::enter);
    drop(value);
}

/// Whether this thread drives tasks of a runtime. A handle is there as well in
/// `spawn_blocking` and `block_in_place`, where to block is right; what tells them from
/// tasks is that those have a budget, which ends.
fn inside_runtime() -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    let mut spent = || pin!(consume_budget()).poll(&mut cx).is_pending();
    Handle::try_current().is_ok() && (0..BUDGET).any(|_| spent())
}

/// More than a task may do at once, by tokio's own bound. Where to block is right all of
/// it is tried, which takes microseconds.
const BUDGET: u32 = 128 + 1;

struct Shared {
    runtime: Handle,
    // Who has its thread: a child of `fork` has the memory of its parent alone.
    process: u32,
}

static SHARED: Mutex<Option<Shared>> = Mutex::new(None);

fn lock() -> std::sync::MutexGuard<'static, Option<Shared>> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn runtime() -> io::Result<Handle> {
    runtime_of(&mut lock(), std::process::id())
}

fn runtime_of(shared: &mut Option<Shared>, process: u32) -> io::Result<Handle> {
    match shared {
        Some(shared) if shared.process == process => Ok(shared.runtime.clone()),
        _ => {
            let runtime = start()?;
            *shared = Some(Shared { runtime: runtime.clone(), process });
            Ok(runtime)
        }
    }
}

fn start() -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name("palisade-blocking".to_owned())
        .spawn(move || runtime.block_on(pending::<()>()))?;
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::mpsc, time::Duration};

    use super::*;

    #[test]
    fn a_wake_is_not_lost_to_who_parks_within_a_poll() {
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let mut polls = 0;
            let polls = Waiter::new().ok().unwrap().wait(poll_fn(|cx| {
                polls += 1;
                if polls == 1 {
                    cx.waker().wake_by_ref();
                    thread::park();
                    return Poll::Pending;
                }
                Poll::Ready(polls)
            }));
            tell.send(polls)
        });
        assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(2));
    }

    #[test]
    fn another_process_has_a_thread_of_its_own() {
        let mut shared = None;
        let id = |handle: Handle| handle.id();
        let parent = id(runtime_of(&mut shared, 1).unwrap());
        assert_eq!(id(runtime_of(&mut shared, 1).unwrap()), parent);
        assert_ne!(id(runtime_of(&mut shared, 2).unwrap()), parent);
    }
}

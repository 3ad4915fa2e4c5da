use std::{
    future::Future,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hyper::rt::Executor;
use tokio::{sync::watch, task::JoinSet};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until what is watched meets a condition, and returns it.
pub(crate) async fn wait_for<T: Clone>(
    watched: &watch::Sender<T>,
    mut condition: impl FnMut(&T) -> bool,
) -> T {
    let mut watched = watched.subscribe();
    loop {
        // A copy, so that the condition runs under no lock.
        let now = watched.borrow_and_update().clone();
        if condition(&now) {
            return now;
        }
        watched.changed().await.expect("the sender is borrowed");
    }
}

/// Every task of one server, so that none outlives it: hyper's HTTP/2 streams are spawned here as
/// well.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    // `None` once the server is stopped.
    running: Arc<Mutex<Option<JoinSet<()>>>>,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self { running: Arc::new(Mutex::new(Some(JoinSet::new()))) }
    }

    /// Spawns `future`, or drops it when the server is already stopped.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let mut running = lock(&self.running);
        let Some(tasks) = &mut *running else {
            drop(running);
            return drop(future);
        };
        while tasks.try_join_next().is_some() {}
        tasks.spawn(future);
    }

    /// Aborts every task; they end when the runtime next runs.
    pub(crate) fn abort(&self) {
        drop(self.take());
    }

    /// Aborts every task and waits until the last of them has been dropped.
    pub(crate) async fn stop(&self) {
        if let Some(mut tasks) = self.take() {
            tasks.shutdown().await;
        }
    }

    fn take(&self) -> Option<JoinSet<()>> {
        mem::take(&mut *lock(&self.running))
    }
}

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.spawn(future);
    }
}

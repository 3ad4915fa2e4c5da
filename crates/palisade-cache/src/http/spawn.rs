use std::{fmt, pin::Pin, sync::Arc};

/// Work that goes on without a request that waits for it: a revalidation.
pub type BackgroundTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs futures in the background: the cache itself spawns nothing.
pub trait Spawn: Send + Sync {
    /// Runs the future to its end.
    fn spawn(&self, work: BackgroundTask);
}

impl<P: Spawn + ?Sized> Spawn for Arc<P> {
    fn spawn(&self, work: BackgroundTask) {
        (**self).spawn(work);
    }
}

/// Runs futures with a closure.
///
/// ```
/// use palisade_cache::{Spawn, spawn_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let executor = spawn_fn(|work| {
///     tokio::spawn(work);
/// });
/// executor.spawn(Box::pin(async {}));
/// # }
/// ```
pub fn spawn_fn<F>(spawn: F) -> SpawnFn<F>
where
    F: Fn(BackgroundTask) + Send + Sync,
{
    SpawnFn(spawn)
}

/// Made by [`spawn_fn`].
#[derive(Clone, Copy)]
pub struct SpawnFn<F>(F);

impl<F> fmt::Debug for SpawnFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpawnFn(..)")
    }
}

impl<F> Spawn for SpawnFn<F>
where
    F: Fn(BackgroundTask) + Send + Sync,
{
    fn spawn(&self, work: BackgroundTask) {
        (self.0)(work);
    }
}

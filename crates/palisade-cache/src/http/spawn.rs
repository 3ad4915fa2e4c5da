use std::{fmt, sync::Arc};

use crate::BoxTask;

/// Runs futures in the background: the cache itself spawns nothing.
pub trait Spawn: Send + Sync {
    /// Runs the future to its end.
    fn spawn(&self, work: BoxTask);
}

impl<P: Spawn + ?Sized> Spawn for Arc<P> {
    fn spawn(&self, work: BoxTask) {
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
    F: Fn(BoxTask) + Send + Sync,
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
    F: Fn(BoxTask) + Send + Sync,
{
    fn spawn(&self, work: BoxTask) {
        (self.0)(work);
    }
}

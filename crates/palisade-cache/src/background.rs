use std::{fmt, pin::Pin, sync::Arc};

/// Runs what nobody waits for: the layers themselves spawn nothing.
pub trait Background {
    /// Runs the task to its end.
    fn run(&self, task: BoxTask);
}

/// What is done in the background.
pub type BoxTask = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<X: Background + ?Sized> Background for Arc<X> {
    fn run(&self, task: BoxTask) {
        (**self).run(task);
    }
}

/// Runs in the background what a function is given, such as one that spawns a
/// task.
///
/// ```
/// use palisade_cache::{Background, background_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let background = background_fn(|task| drop(tokio::spawn(task)));
/// background.run(Box::pin(async {}));
/// # }
/// ```
pub fn background_fn<F>(spawn: F) -> BackgroundFn<F>
where
    F: Fn(BoxTask),
{
    BackgroundFn(spawn)
}

/// Made by [`background_fn`].
#[derive(Clone, Copy)]
pub struct BackgroundFn<F>(F);

impl<F> Background for BackgroundFn<F>
where
    F: Fn(BoxTask),
{
    fn run(&self, task: BoxTask) {
        (self.0)(task);
    }
}

impl<F> fmt::Debug for BackgroundFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BackgroundFn(..)")
    }
}

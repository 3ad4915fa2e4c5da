use std::{
    fmt,
    hash::Hash,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{Judge, member::Member};

/// Runs what nobody waits for.
pub trait Background<F> {
    /// Runs this to its end, or returns it: then the caller whom it came up for
    /// waits for it.
    fn run(&self, future: F) -> Option<F>;
}

/// Nothing is done in the background: a caller waits for what comes up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inline;

impl<F> Background<F> for Inline {
    #[inline]
    fn run(&self, future: F) -> Option<F> {
        Some(future)
    }
}

impl<F, X: Background<F> + ?Sized> Background<F> for Arc<X> {
    fn run(&self, future: F) -> Option<F> {
        (**self).run(future)
    }
}

/// Runs in the background what a function is given, such as one that spawns a
/// task.
///
/// ```
/// use palisade_cache::background_fn;
///
/// let background = background_fn(|future| drop(tokio::spawn(future)));
/// # let _ = background;
/// ```
pub fn background_fn<F>(spawn: F) -> BackgroundFn<F>
where
    F: Fn(BoxTask),
{
    BackgroundFn(spawn)
}

/// What is done in the background.
pub type BoxTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Made by [`background_fn`].
#[derive(Clone, Copy)]
pub struct BackgroundFn<F>(F);

impl<T, F> Background<T> for BackgroundFn<F>
where
    T: Future<Output = ()> + Send + 'static,
    F: Fn(BoxTask),
{
    fn run(&self, future: T) -> Option<T> {
        self.0(Box::pin(future));
        None
    }
}

impl<F> fmt::Debug for BackgroundFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BackgroundFn(..)")
    }
}

/// Gets a new answer in place of one that grows old.
#[must_use = "futures do nothing unless polled"]
pub struct Refresh<S, Req, K, V, P>
where
    S: Service<Req>,
    K: Clone + Eq + Hash,
{
    member: Member<S, Req, K, V, P>,
}

impl<S, Req, K, V, P> Refresh<S, Req, K, V, P>
where
    S: Service<Req>,
    K: Clone + Eq + Hash,
{
    pub(crate) fn new(member: Member<S, Req, K, V, P>) -> Self {
        Self { member }
    }

    pub(crate) fn into_member(self) -> Member<S, Req, K, V, P> {
        self.member
    }
}

impl<S, Req, K, V, P> Future for Refresh<S, Req, K, V, P>
where
    S: Service<Req>,
    K: Clone + Eq + Hash,
    V: Clone,
    P: Judge<K, S::Response, S::Error, Kept = V>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.get_mut().member.poll(cx).map(drop)
    }
}

// Nothing in it is pinned where it stands.
impl<S, Req, K, V, P> Unpin for Refresh<S, Req, K, V, P>
where
    S: Service<Req>,
    K: Clone + Eq + Hash,
{
}

impl<S, Req, K, V, P> fmt::Debug for Refresh<S, Req, K, V, P>
where
    S: Service<Req>,
    K: Clone + Eq + Hash,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refresh").finish_non_exhaustive()
    }
}

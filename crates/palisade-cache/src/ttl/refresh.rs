use std::{
    fmt,
    hash::Hash,
    pin::Pin,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{Judge, member::Member};
use crate::Background;

/// Says who gets a new answer in place of one that grows old: the caller whom it
/// comes up for, by [`Inline`], or any [`Background`].
pub trait Refresher<F> {
    /// Sees to it that this comes to its end, or returns it: then the caller
    /// waits for it.
    fn refresh(&self, refresh: F) -> Option<F>;
}

/// Nothing is done in the background: a caller waits for what comes up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inline;

impl<F> Refresher<F> for Inline {
    #[inline]
    fn refresh(&self, refresh: F) -> Option<F> {
        Some(refresh)
    }
}

impl<F, X> Refresher<F> for X
where
    F: Future<Output = ()> + Send + 'static,
    X: Background,
{
    fn refresh(&self, refresh: F) -> Option<F> {
        self.run(Box::pin(refresh));
        None
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

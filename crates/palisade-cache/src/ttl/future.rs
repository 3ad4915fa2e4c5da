use std::{
    fmt,
    hash::Hash,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{Judge, member::Member};

pin_project! {
    /// The future of [`Cache`](crate::Cache).
    ///
    /// # Cancel safety
    ///
    /// Dropped, it takes nothing from others who wait for the same answer: the
    /// call goes on, with another one of them to drive it, and is dropped with
    /// the last.
    #[must_use = "futures do nothing unless polled"]
    pub struct CacheFuture<S, Req, K, V, P>
    where
        S: Service<Req>,
        K: Clone,
        K: Eq,
        K: Hash,
    {
        stage: Stage<S, Req, K, V, P>,
    }
}

enum Stage<S, Req, K, V, P>
where
    S: Service<Req>,
    K: Clone + Eq + Hash,
{
    // There is an answer, until it is given.
    Answered(Option<Result<S::Response, S::Error>>),
    // Waits for a call.
    Waiting(Member<S, Req, K, V, P>),
}

impl<S, Req, K, V, P> CacheFuture<S, Req, K, V, P>
where
    S: Service<Req>,
    K: Clone + Eq + Hash,
{
    #[inline]
    pub(crate) fn answered(result: Result<S::Response, S::Error>) -> Self {
        Self { stage: Stage::Answered(Some(result)) }
    }

    pub(crate) fn waiting(member: Member<S, Req, K, V, P>) -> Self {
        Self { stage: Stage::Waiting(member) }
    }
}

impl<S, Req, K, V, P> Future for CacheFuture<S, Req, K, V, P>
where
    S: Service<Req>,
    K: Clone + Eq + Hash,
    V: Clone,
    P: Judge<K, S::Response, S::Error, Kept = V>,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().stage {
            Stage::Answered(result) => {
                Poll::Ready(result.take().expect("polled after it was ready"))
            }
            Stage::Waiting(member) => member.poll(cx),
        }
    }
}

impl<S, Req, K, V, P> fmt::Debug for CacheFuture<S, Req, K, V, P>
where
    S: Service<Req>,
    K: Clone + Eq + Hash,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheFuture").finish_non_exhaustive()
    }
}

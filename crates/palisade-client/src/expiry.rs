use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use tokio::time::{Sleep, sleep_until};

/// The time until which one waits. Its timer is made by the first poll.
#[derive(Default)]
pub(crate) struct Expiry {
    at: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Expiry {
    pub(crate) fn at(at: Option<Instant>) -> Self {
        Self { at, sleep: None }
    }

    /// Whether the time is over.
    pub(crate) fn is_over(&self) -> bool {
        self.at.is_some_and(|at| at <= tokio::time::Instant::now().into_std())
    }

    /// Is ready when the time is over, which it never is without one.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at.into())));
        sleep.as_mut().poll(cx)
    }
}

impl fmt::Debug for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expiry").field(&self.at).finish()
    }
}

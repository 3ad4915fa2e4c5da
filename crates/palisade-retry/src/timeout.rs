use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

use crate::AttemptTimedOut;

/// How long an attempt may take.
///
/// [`NoTimeout`] is the default;
/// [`RetryLayer::attempt_timeout`](crate::RetryLayer::attempt_timeout) sets
/// [`AttemptTimeout`].
#[diagnostic::on_unimplemented(
    message = "an error of type `{E}` cannot say that an attempt timed out",
    note = "put `.map_err(palisade_core::BoxError::from)` between the retry layer and the service"
)]
pub trait AttemptLimit<E> {
    /// Measures one attempt.
    type Timer;

    /// The timer of an attempt that begins.
    fn timer(&self) -> Self::Timer;

    /// Ready, with the error to fail with, when the time is over.
    fn poll(timer: &mut Self::Timer, cx: &mut Context<'_>) -> Poll<E>;
}

/// An attempt takes as long as it takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTimeout;

impl<E> AttemptLimit<E> for NoTimeout {
    type Timer = ();

    fn timer(&self) {}

    fn poll((): &mut (), _: &mut Context<'_>) -> Poll<E> {
        Poll::Pending
    }
}

/// An attempt ends with [`AttemptTimedOut`] after a while.
///
/// The error type of the inner service must be able to say so: a
/// [`BoxError`](palisade_core::BoxError) can.
#[derive(Clone, Copy, Debug)]
pub struct AttemptTimeout {
    limit: Duration,
}

impl AttemptTimeout {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<E: From<AttemptTimedOut>> AttemptLimit<E> for AttemptTimeout {
    type Timer = AttemptTimer;

    fn timer(&self) -> AttemptTimer {
        AttemptTimer { limit: self.limit, sleep: None }
    }

    fn poll(timer: &mut AttemptTimer, cx: &mut Context<'_>) -> Poll<E> {
        let limit = timer.limit;
        // Armed when the attempt is first found waiting: one that succeeds at
        // once has no timer.
        let sleep = timer.sleep.get_or_insert_with(|| Box::pin(sleep(limit)));
        sleep.as_mut().poll(cx).map(|()| E::from(AttemptTimedOut::new(limit)))
    }
}

/// The timer of an [`AttemptTimeout`].
pub struct AttemptTimer {
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl fmt::Debug for AttemptTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptTimer").field("limit", &self.limit).finish_non_exhaustive()
    }
}

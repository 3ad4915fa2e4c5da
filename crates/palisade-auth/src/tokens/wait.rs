use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    runtime::Handle,
    time::{Sleep, sleep},
};

use super::{
    Inner,
    flight::{Flight, late},
    slot::{Join, Landing},
};
use crate::AuthError;

/// Waits until there is a token, or another one.
///
/// # Cancel safety
///
/// Dropped, it leaves the token on its way to all others, and to those who come
/// later.
#[must_use = "futures do nothing unless polled"]
pub struct Wait {
    inner: Arc<Inner>,
    flight: Flight,
    number: u64,
    fallback: bool,
    // Of the runtime of who waits: that of the flight may be asleep. None, where
    // there is no runtime.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Wait {
    pub(crate) fn new(inner: Arc<Inner>, join: Join<Flight>) -> Self {
        let Join { flight, number, begins, fallback, until } = join;
        if begins {
            flight.launch();
        }
        let sleep = Handle::try_current().ok().map(|_| Box::pin(sleep(until)));
        Self { inner, flight, number, fallback, sleep }
    }

    fn timed_out(&self) -> Result<(), AuthError> {
        if self.fallback {
            self.inner.slot.lose_patience(self.number);
            return Ok(());
        }
        let settings = &self.inner.settings;
        let (now, random) = (settings.clock.now(), settings.random.unit());
        // Only a flight that nobody polls gets here; a failure is of no epoch.
        let landing = Landing::Failed(late());
        let _ = self.inner.slot.land(self.number, 0, landing, now, random);
        Err(late())
    }
}

impl Future for Wait {
    type Output = Result<(), AuthError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(flown) = Pin::new(&mut this.flight).poll(cx) {
            // The token that is there is used all the same.
            return Poll::Ready(flown.or_else(|error| match this.fallback {
                true => Ok(()),
                false => Err(error),
            }));
        }
        if this.flight.poll_given_up(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        match this.sleep.as_mut().map(|sleep| sleep.as_mut().poll(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(this.timed_out()),
            _ => Poll::Pending,
        }
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").field("fallback", &self.fallback).finish_non_exhaustive()
    }
}

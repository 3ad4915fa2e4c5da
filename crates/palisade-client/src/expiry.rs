use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use http_body::{Body as HttpBody, Frame};
use palisade_core::BoxError;
use tokio::time::{Sleep, sleep_until};

use crate::error::expired;

/// After so many frames that nobody waited for, the time is looked at: no timer is asked then.
const AT_ONCE: u32 = 64;

/// The time until which one waits. Its timer is made by the first poll.
#[derive(Default)]
pub(crate) struct Expiry {
    at: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
    // How many frames there were since somebody waited, or the time was looked at.
    frames: u32,
}

impl Expiry {
    pub(crate) fn at(at: Option<Instant>) -> Self {
        Self { at, ..Self::default() }
    }

    /// Whether the time is over.
    fn is_over(&self) -> bool {
        self.at.is_some_and(|at| at <= tokio::time::Instant::now().into_std())
    }

    /// Is ready when the time is over, which it never is without one.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at.into())));
        sleep.as_mut().poll(cx)
    }

    /// The next frame of a body, or the error of one that takes too long.
    pub(crate) fn poll_frame<B>(
        &mut self,
        body: Pin<&mut B>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>>
    where
        B: HttpBody<Error: Into<BoxError>>,
    {
        if self.frames == AT_ONCE {
            if self.is_over() {
                return Poll::Ready(Some(Err(expired())));
            }
            self.frames = 0;
        }
        match body.poll_frame(cx) {
            Poll::Ready(frame) => {
                self.frames += 1;
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                self.frames = 0;
                self.poll(cx).map(|()| Some(Err(expired())))
            }
        }
    }
}

impl fmt::Debug for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expiry").field(&self.at).finish()
    }
}

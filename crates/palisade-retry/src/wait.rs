use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response};
use http_body::Body;
use palisade_body::Drain;
use palisade_core::Outcome;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tower_service::Service;

use crate::Stop;

pin_project! {
    /// The time between two attempts.
    pub(crate) struct Wait<Next, ResB, E> {
        // The body of the next attempt. It is taken when that begins.
        body: Option<Next>,
        #[pin]
        sleep: Option<Sleep>,
        // The failed response is read to its end meanwhile, so that its
        // connection can carry the next attempt.
        #[pin]
        drain: Option<Drain<ResB>>,
        // When its end is waited for no longer.
        grace: Option<Instant>,
        due: bool,
        fallback: Fallback<ResB, E>,
    }
}

/// What an attempt came to.
pub(crate) struct Original<ResB, E> {
    pub(crate) result: Result<Response<ResB>, E>,
    pub(crate) outcome: Outcome,
}

/// What to do when the next attempt is due and the inner service not ready.
pub(crate) enum Fallback<ResB, E> {
    /// Wait until it is.
    None,
    /// Return this at once.
    Now(Original<ResB, E>),
    /// Return this if it is not ready by then.
    At(Instant, Original<ResB, E>),
}

/// How a wait ends.
pub(crate) enum Due<Next, ResB, E> {
    /// With the next attempt.
    Attempt(Next),
    /// Without one, for this reason.
    Return(Original<ResB, E>, Stop),
    /// With an inner service that will not be ready any more.
    Failed(E),
}

impl<Next, ResB: Body, E> Wait<Next, ResB, E> {
    /// Waits for `delay`, and then for the end of `drain`: not past `deadline`,
    /// and for less than it takes to make a connection across an ocean.
    pub(crate) fn new(
        body: Next,
        delay: Duration,
        deadline: Option<Instant>,
        drain: Option<Drain<ResB>>,
        fallback: Fallback<ResB, E>,
    ) -> Self {
        const GRACE: Duration = Duration::from_millis(50);
        const MOMENT: Duration = Duration::from_millis(1);
        // Not made where it decides nothing. It knows what to do with a delay
        // past the end of time.
        let sleep = (!delay.is_zero() || drain.is_some()).then(|| sleep(delay));
        let grace = sleep.as_ref().filter(|_| drain.is_some()).map(|sleep| {
            let due = sleep.deadline();
            let left = deadline.map_or(GRACE, |deadline| {
                deadline.saturating_duration_since(due).saturating_sub(MOMENT).min(GRACE)
            });
            due + left
        });
        Self { body: Some(body), sleep, drain, grace, due: false, fallback }
    }

    /// Ready when the next attempt can be sent, or none will be.
    pub(crate) fn poll<S>(
        mut self: Pin<&mut Self>,
        service: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Due<Next, ResB, E>>
    where
        S: Service<Request<Next>, Error = E>,
    {
        ready!(self.as_mut().poll_due(cx));
        let mut this = self.project();
        let ready = service.poll_ready(cx);
        Poll::Ready(match (ready, mem::replace(this.fallback, Fallback::None)) {
            (Poll::Ready(Ok(())), _) => {
                let body = this.body.take();
                Due::Attempt(body.expect("a wait ends once"))
            }
            (_, Fallback::Now(original)) => Due::Return(original, Stop::NotReady),
            (Poll::Ready(Err(error)), _) => Due::Failed(error),
            (Poll::Pending, Fallback::None) => return Poll::Pending,
            (Poll::Pending, Fallback::At(deadline, original)) => {
                if this.sleep.is_none() {
                    this.sleep.set(Some(sleep_until(deadline)));
                }
                let sleep = this.sleep.as_pin_mut();
                if sleep.is_some_and(|sleep| sleep.poll(cx).is_pending()) {
                    *this.fallback = Fallback::At(deadline, original);
                    return Poll::Pending;
                }
                Due::Return(original, Stop::Deadline)
            }
        })
    }

    /// Ready when the next attempt is due, and the last response out of the way.
    fn poll_due(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if let Some(drain) = this.drain.as_mut().as_pin_mut()
            && drain.poll(cx).is_ready()
        {
            this.drain.set(None);
        }
        if !*this.due {
            if let Some(sleep) = this.sleep.as_mut().as_pin_mut() {
                ready!(sleep.poll(cx));
            }
            *this.due = true;
            let grace = this.grace.filter(|_| this.drain.is_some());
            this.sleep.set(grace.map(sleep_until));
        }
        // It is due, and only the last response can hold it up.
        if this.drain.is_some() {
            if let Some(sleep) = this.sleep.as_mut().as_pin_mut() {
                ready!(sleep.poll(cx));
            }
            this.drain.set(None);
            this.sleep.set(None);
        }
        Poll::Ready(())
    }
}

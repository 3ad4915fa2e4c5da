use std::{pin::Pin, sync::Arc, time::Duration};

use http::{Request, Response, Version, header::CONNECTION};
use http_body::Body;
use palisade_body::Drain;
use palisade_core::{Classify, Deadline, Event, HeadCopy, Outcome};

use crate::{
    AttemptLimit, Bodies, Budget, Rules, Schedule, Stop, Ticket, WhenUnready,
    attempts::Attempts,
    plan::{Call, Plan},
    wait::{Fallback, Original, Wait},
};

/// What a call needs to be retried.
pub(crate) struct Retrying<S, R, Kept, Account, Tk> {
    // Cloned from the one that was called, so not ready.
    inner: S,
    rules: Arc<R>,
    attempts: Attempts<Account, Tk>,
    head: HeadCopy,
    kept: Kept,
}

/// What follows from the result of an attempt.
pub(crate) enum Verdict<Next, ResB, E> {
    Return(Result<Response<ResB>, E>),
    Retry(Pin<Box<Wait<Next, ResB, E>>>),
}

impl<S, C, Q, K, G, M, T, Kept, Account, Tk>
    Retrying<S, Rules<C, Q, K, G, M, T>, Kept, Account, Tk>
{
    pub(crate) fn new(
        inner: S,
        rules: Arc<Rules<C, Q, K, G, M, T>>,
        plan: Plan,
        head: HeadCopy,
        kept: Kept,
        account: Account,
    ) -> Self {
        Self { inner, rules, attempts: Attempts::new(plan, account), head, kept }
    }

    /// Decides what follows from the result of an attempt.
    pub(crate) fn judge<B, ResB, E>(
        &mut self,
        result: Result<Response<ResB>, E>,
    ) -> Verdict<M::Body, ResB, E>
    where
        ResB: Body,
        C: Classify<Response<ResB>, E>,
        K: Schedule,
        G: Budget<Account = Account, Ticket = Tk>,
        M: Bodies<B, Kept = Kept>,
    {
        let outcome = self.rules.classify.classify(result.as_ref());
        let stop = match self.attempts.plan.call(outcome) {
            Call::Return => None,
            Call::Stop(stop) => Some(stop),
            // All that can go wrong goes wrong before the answer is touched.
            Call::Retry => match self.reserve::<B, _, _>(&result, outcome) {
                Ok((delay, body)) => {
                    return Verdict::Retry(self.wait(result, outcome, delay, body));
                }
                Err(stop) => Some(stop),
            },
        };
        Verdict::Return(self.finish(result, outcome, stop))
    }

    /// Reserves all that the next attempt needs.
    fn reserve<B, ResB, E>(
        &mut self,
        result: &Result<Response<ResB>, E>,
        outcome: Outcome,
    ) -> Result<(Duration, M::Body), Stop>
    where
        K: Schedule,
        G: Budget<Account = Account, Ticket = Tk>,
        M: Bodies<B, Kept = Kept>,
    {
        let Self { rules, attempts, kept, .. } = self;
        let delay = rules.delay(&attempts.plan, &attempts.progress, result, outcome)?;
        rules.bodies.check(kept, result.is_ok())?;
        let ticket = attempts.withdraw(&rules.budget, outcome)?;
        let body = rules.bodies.next(kept)?;
        Ok((attempts.wait(delay, ticket, outcome), body))
    }

    /// Lets go of the answer, and begins the wait.
    fn wait<Next, ResB, E>(
        &self,
        result: Result<Response<ResB>, E>,
        outcome: Outcome,
        delay: Duration,
        body: Next,
    ) -> Pin<Box<Wait<Next, ResB, E>>>
    where
        ResB: Body,
        C: Classify<Response<ResB>, E>,
    {
        let Attempts { plan, progress, .. } = &self.attempts;
        let attempt = progress.attempt;
        let target = || self.head.target();
        self.rules.report(&result, outcome, target, |cause| Event::Retry { attempt, delay, cause });
        let (drain, fallback) = match (self.rules.settings.unready, plan.deadline, result) {
            (WhenUnready::ReturnOriginal, _, result) => {
                (None, Fallback::Now(Original { result, outcome }))
            }
            (WhenUnready::Wait, _, Ok(response)) => (self.drain(response), Fallback::None),
            (WhenUnready::Wait, None, Err(_)) => (None, Fallback::None),
            (WhenUnready::Wait, Some(deadline), result @ Err(_)) => {
                (None, Fallback::At(deadline, Original { result, outcome }))
            }
        };
        Box::pin(Wait::new(body, delay, plan.deadline, drain, fallback))
    }

    /// The rest of a response, if it is worth reading.
    fn drain<ResB: Body>(&self, response: Response<ResB>) -> Option<Drain<ResB>> {
        let cap = self.rules.settings.drain;
        let worth = cap > 0 && is_reusable(&response);
        worth.then(|| Drain::new(response.into_body(), cap))
    }

    /// The request of the next attempt.
    pub(crate) fn request<Next>(&mut self, body: Next) -> Request<Next>
    where
        Tk: Ticket,
    {
        if self.attempts.is_new() {
            self.head.count_resend();
        }
        if let Some(deadline) = self.attempts.plan.deadline {
            self.head.insert(Deadline(deadline.into_std()));
        }
        let mut head = self.head.rebuild();
        self.attempts.count(&self.rules.settings, head.headers_mut());
        self.attempts.spend();
        head.map(|()| body)
    }

    /// The service that further attempts are sent to.
    pub(crate) fn inner(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The timer of the next attempt.
    pub(crate) fn timer<E>(&self) -> T::Timer
    where
        T: AttemptLimit<E>,
    {
        self.rules.timeout.timer()
    }

    /// Returns what an attempt came to, although another was to follow.
    pub(crate) fn give_up<ResB, E>(
        &self,
        original: Original<ResB, E>,
        stop: Stop,
    ) -> Result<Response<ResB>, E>
    where
        C: Classify<Response<ResB>, E>,
    {
        self.finish(original.result, original.outcome, Some(stop))
    }

    /// Returns the error of a service that will not be ready any more.
    pub(crate) fn unready<ResB, E>(&self, error: E) -> Result<Response<ResB>, E>
    where
        C: Classify<Response<ResB>, E>,
    {
        let outcome = self.rules.classify.classify(Err(&error));
        self.finish(Err(error), outcome, Some(Stop::NotReady))
    }

    /// Returns a result, with a word on what was done for it.
    fn finish<ResB, E>(
        &self,
        mut result: Result<Response<ResB>, E>,
        outcome: Outcome,
        stop: Option<Stop>,
    ) -> Result<Response<ResB>, E>
    where
        C: Classify<Response<ResB>, E>,
    {
        let target = || self.head.target();
        self.rules.finish(&self.attempts.progress, &mut result, outcome, stop, target);
        result
    }
}

/// Whether the connection of a response can be used again once that is read,
/// and cannot before. Later versions than HTTP/1.1 reset the stream, and keep
/// the connection; earlier ones close it (RFC 9112, section 9.3).
fn is_reusable<B: Body>(response: &Response<B>) -> bool {
    let options = response.headers().get_all(CONNECTION).iter();
    let mut options =
        options.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    response.version() == Version::HTTP_11
        && !response.body().is_end_stream()
        && !options.any(|option| option.trim().eq_ignore_ascii_case("close"))
}

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderValue, Request, Response, Version};
use http_body::Body;
use palisade_body::Drain;
use palisade_core::{Classify, Event, Outcome};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep};
use tower_service::Service;

use crate::{
    AttemptLimit, Bodies, Budget, Rules, Schedule, Stop, Ticket, WhenUnready,
    rules::{Call, Plan, Progress},
    snapshot::Snapshot,
};

pin_project! {
    /// The future of [`Retry`](crate::Retry).
    ///
    /// # Cancel safety
    ///
    /// Dropped during an attempt, it drops the inner service's future. Dropped
    /// during a wait, it sends nothing more, and what it took of the budget
    /// goes back.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B, ResB, C, Q, K, G, M, T>
    where
        S: Service<Request<M::Body>, Response = Response<ResB>>,
        G: Budget,
        M: Bodies<B>,
        T: AttemptLimit<S::Error>,
    {
        #[pin]
        stage: Stage<S::Future, Wait<M::Body, ResB, S::Error>>,
        timer: T::Timer,
        // Nothing, if the request is sent once.
        retrying: Option<Retrying<S, Rules<C, Q, K, G, M, T>, M::Kept, G::Account, G::Ticket>>,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<F, W> {
        // The inner service works on an attempt.
        Called { #[pin] future: F },
        // The next attempt is not due yet, or the inner service is not ready
        // for it. Boxed: it is large, and most calls have none.
        Waiting { wait: Pin<Box<W>> },
    }
}

pin_project! {
    /// The time between two attempts.
    struct Wait<Next, ResB, E> {
        // The body of the next attempt. It is taken when that begins.
        body: Option<Next>,
        #[pin]
        sleep: Option<Sleep>,
        // The failed response is read to its end meanwhile, so that its
        // connection can carry the next attempt.
        #[pin]
        drain: Option<Drain<ResB>>,
        // How much longer to wait for its end when the next attempt is due;
        // nothing, once it is.
        grace: Option<Duration>,
        // What to return if the inner service is not ready, if that is wanted.
        original: Option<Original<ResB, E>>,
    }
}

impl<Next, ResB: Body, E> Wait<Next, ResB, E> {
    /// Ready when the next attempt is due, and the last response out of the way.
    fn poll_due(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if let Some(drain) = this.drain.as_mut().as_pin_mut()
            && drain.poll(cx).is_ready()
        {
            this.drain.set(None);
        }
        if let Some(grace) = *this.grace {
            if let Some(sleep) = this.sleep.as_mut().as_pin_mut() {
                ready!(sleep.poll(cx));
            }
            *this.grace = None;
            this.sleep.set(this.drain.is_some().then(|| sleep(grace)));
        }
        // It is due, and only the last response can hold it up.
        if this.drain.is_some()
            && let Some(sleep) = this.sleep.as_mut().as_pin_mut()
        {
            ready!(sleep.poll(cx));
        }
        this.drain.set(None);
        this.sleep.set(None);
        Poll::Ready(())
    }
}

struct Original<ResB, E> {
    result: Result<Response<ResB>, E>,
    outcome: Outcome,
}

/// What a call needs to be retried.
pub(crate) struct Retrying<S, R, Kept, Account, Tk> {
    // Cloned from the one that was called, so not ready.
    inner: S,
    rules: Arc<R>,
    plan: Plan,
    progress: Progress,
    head: Snapshot,
    kept: Kept,
    account: Account,
    ticket: Option<Tk>,
}

impl<S, B, ResB, C, Q, K, G, M, T> ResponseFuture<S, B, ResB, C, Q, K, G, M, T>
where
    S: Service<Request<M::Body>, Response = Response<ResB>>,
    G: Budget,
    M: Bodies<B>,
    T: AttemptLimit<S::Error>,
{
    /// The future of a request that is sent once.
    pub(crate) fn once(future: S::Future, timer: T::Timer) -> Self {
        Self {
            stage: Stage::Called { future },
            timer,
            retrying: None,
        }
    }

    /// The future of a request that may be retried.
    #[expect(
        clippy::type_complexity,
        reason = "named once more in the struct, and nowhere else"
    )]
    pub(crate) fn retrying(
        future: S::Future,
        timer: T::Timer,
        retrying: Retrying<S, Rules<C, Q, K, G, M, T>, M::Kept, G::Account, G::Ticket>,
    ) -> Self {
        Self {
            retrying: Some(retrying),
            ..Self::once(future, timer)
        }
    }
}

impl<S, B, ResB, C, Q, K, G, M, T> Future for ResponseFuture<S, B, ResB, C, Q, K, G, M, T>
where
    S: Service<Request<M::Body>, Response = Response<ResB>>,
    ResB: Body,
    C: Classify<Response<ResB>, S::Error>,
    K: Schedule,
    G: Budget,
    M: Bodies<B>,
    T: AttemptLimit<S::Error>,
{
    type Output = Result<Response<ResB>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.stage.as_mut().project() {
                StageProj::Called { future } => {
                    // The answer first, so that one in hand is never thrown away.
                    let result = match future.poll(cx) {
                        Poll::Ready(result) => result,
                        Poll::Pending => Err(ready!(T::poll(this.timer, cx))),
                    };
                    let Some(retrying) = this.retrying else {
                        return Poll::Ready(result);
                    };
                    match retrying.judge::<B, _, _>(result) {
                        Verdict::Return(result) => return Poll::Ready(result),
                        Verdict::Retry(wait) => this.stage.set(Stage::Waiting { wait }),
                    }
                }
                StageProj::Waiting { wait } => {
                    let retrying = this
                        .retrying
                        .as_mut()
                        .expect("only what may be retried waits");
                    ready!(wait.as_mut().poll_due(cx));
                    let wait = wait.as_mut().project();
                    match (retrying.inner.poll_ready(cx), wait.original.take()) {
                        (Poll::Ready(Ok(())), _) => {}
                        (_, Some(Original { result, outcome })) => {
                            return Poll::Ready(retrying.finish(
                                result,
                                outcome,
                                Some(Stop::NotReady),
                            ));
                        }
                        (Poll::Pending, None) => return Poll::Pending,
                        (Poll::Ready(Err(error)), None) => {
                            let outcome = retrying.rules.classify.classify(Err(&error));
                            return Poll::Ready(retrying.finish(
                                Err(error),
                                outcome,
                                Some(Stop::NotReady),
                            ));
                        }
                    }
                    *this.timer = retrying.rules.timeout.timer();
                    let body = wait.body.take().expect("a wait ends once");
                    let request = retrying.request(body);
                    let future = retrying.inner.call(request);
                    this.stage.set(Stage::Called { future });
                }
            }
        }
    }
}

enum Verdict<Next, ResB, E> {
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
        head: Snapshot,
        kept: Kept,
        account: Account,
    ) -> Self {
        Self {
            inner,
            rules,
            plan,
            progress: Progress::default(),
            head,
            kept,
            account,
            ticket: None,
        }
    }

    /// Decides what follows from the result of an attempt.
    fn judge<B, ResB, E>(&mut self, result: Result<Response<ResB>, E>) -> Verdict<M::Body, ResB, E>
    where
        ResB: Body,
        C: Classify<Response<ResB>, E>,
        K: Schedule,
        G: Budget<Account = Account, Ticket = Tk>,
        M: Bodies<B, Kept = Kept>,
    {
        let outcome = self.rules.classify.classify(result.as_ref());
        let stop = match self.plan.call(outcome) {
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
        let rules = &*self.rules;
        let delay = rules.delay(&self.plan, &self.progress, result, outcome)?;
        rules.bodies.check(&self.kept, result.is_ok())?;

        // The attempt that ended gives its ticket back before another is taken.
        self.ticket = None;
        let ticket = rules.budget.withdraw(&self.account).ok_or(Stop::Budget)?;
        let last = self.progress.attempt + 1 == self.plan.attempts;
        let body = rules.bodies.next(&mut self.kept, last)?;
        self.ticket = Some(ticket);
        self.progress.scheduled = delay.scheduled;
        Ok((delay.total, body))
    }

    /// Lets go of the answer, and begins the wait.
    fn wait<Next, ResB, E>(
        &mut self,
        result: Result<Response<ResB>, E>,
        outcome: Outcome,
        delay: Duration,
        body: Next,
    ) -> Pin<Box<Wait<Next, ResB, E>>>
    where
        ResB: Body,
        C: Classify<Response<ResB>, E>,
    {
        self.progress.delay = self.progress.delay.saturating_add(delay);
        let attempt = self.progress.attempt;
        let target = || self.head.target();
        self.rules
            .report(&result, outcome, target, |cause| Event::Retry {
                attempt,
                delay,
                cause,
            });
        let (drain, original) = match (self.rules.settings.unready, result) {
            (WhenUnready::ReturnOriginal, result) => (None, Some(Original { result, outcome })),
            (WhenUnready::Wait, Ok(response)) => (self.drain(response), None),
            (WhenUnready::Wait, Err(_)) => (None, None),
        };
        Box::pin(Wait {
            body: Some(body),
            sleep: (!delay.is_zero()).then(|| sleep(delay)),
            grace: Some(self.grace(delay)),
            drain,
            original,
        })
    }

    /// The rest of a response, if it is worth reading.
    fn drain<ResB: Body>(&self, response: Response<ResB>) -> Option<Drain<ResB>> {
        let cap = self.rules.settings.drain;
        // Later versions reset the stream, and keep the connection.
        let keeps = response.version() < Version::HTTP_2 && !response.body().is_end_stream();
        (keeps && cap > 0).then(|| Drain::new(response.into_body(), cap))
    }

    /// How long past its due time the next attempt may wait for a connection
    /// to become free: less than it takes to make one across an ocean.
    fn grace(&self, delay: Duration) -> Duration {
        const GRACE: Duration = Duration::from_millis(50);
        match self.plan.deadline {
            Some(deadline) => deadline
                .saturating_duration_since(Instant::now() + delay)
                .min(GRACE),
            None => GRACE,
        }
    }

    /// The request of the next attempt.
    fn request<Next>(&mut self, body: Next) -> Request<Next>
    where
        Tk: Ticket,
    {
        self.progress.attempt += 1;
        if let Some(ticket) = &mut self.ticket {
            ticket.spend();
        }
        let mut head = self.head.rebuild();
        if let Some(name) = &self.rules.settings.attempt_header {
            head.headers_mut()
                .insert(name, HeaderValue::from(self.progress.attempt));
        }
        head.map(|()| body)
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
        self.rules
            .finish(&self.progress, &mut result, outcome, stop, target);
        result
    }
}

impl<S, B, ResB, C, Q, K, G, M, T> fmt::Debug for ResponseFuture<S, B, ResB, C, Q, K, G, M, T>
where
    S: Service<Request<M::Body>, Response = Response<ResB>>,
    G: Budget,
    M: Bodies<B>,
    T: AttemptLimit<S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

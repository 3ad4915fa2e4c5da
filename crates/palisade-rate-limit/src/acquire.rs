use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    Limited, LimitedReason,
    admit::{Admit, LineSettings},
    bucket::nanos,
    limits::Limits,
    shared::{Shared, Step},
};

/// Waits for tokens: made by [`Limiter::acquire`](crate::Limiter::acquire).
///
/// # Cancel safety
///
/// It joins the line when it is first polled. Dropped before it is ready, it
/// leaves the line, and has taken nothing. The first one in line must be polled
/// or dropped: all others wait for it.
///
/// # Panics
///
/// If it is polled after it was ready.
#[must_use = "futures do nothing unless polled"]
pub struct Acquire {
    turn: Turn<Limits>,
}

impl Acquire {
    pub(crate) fn new(shared: Arc<Shared>, cost: u32, deadline: Option<Instant>) -> Self {
        Self { turn: Turn::new(shared, cost, deadline) }
    }
}

impl Future for Acquire {
    type Output = Result<(), Limited>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let waited = ready!(Pin::new(&mut self.turn).poll(cx))?;
        self.turn.shared.tell_wait(waited);
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire").field("cost", &self.turn.cost).finish_non_exhaustive()
    }
}

/// Waits for its turn, whatever it takes. Says how long it was in line: that is told once what was
/// taken has an owner, as who is told may panic.
pub(crate) struct Turn<L: Admit> {
    shared: Arc<Shared<L>>,
    cost: u32,
    deadline: Option<Instant>,
    stage: Stage,
}

enum Stage {
    // Nobody has polled it.
    New,
    // It is in line. Where its time is foreseen, only the first one, or one with a deadline, needs
    // a timer.
    Waiting { place: usize, since: u64, give_up: u64, sleep: Option<Pin<Box<Sleep>>> },
    // It has its tokens, or was refused.
    Done,
}

impl<L: Admit> Turn<L> {
    pub(crate) fn new(shared: Arc<Shared<L>>, cost: u32, deadline: Option<Instant>) -> Self {
        Self { shared, cost, deadline, stage: Stage::New }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<L>> {
        &self.shared
    }

    fn begin(&mut self, cx: &Context<'_>) -> Poll<Result<Option<Duration>, Limited>> {
        let settings = self.shared.settings();
        let clock = settings.clock();
        let now = clock.now();
        let longest = settings.wait().longest();
        if longest.is_zero() {
            let taken = self.shared.try_take(|| now, self.cost);
            let refuse =
                |short| self.shared.refusal(short, now, self.cost, LimitedReason::Exhausted);
            return Poll::Ready(taken.map(|()| None).map_err(refuse));
        }
        let deadline = self.deadline.map_or(u64::MAX, |deadline| clock.time(deadline));
        if deadline < now {
            let short = self.shared.limits.short(0, self.cost);
            let limited = self.shared.refusal(short, now, self.cost, LimitedReason::TooLong);
            return Poll::Ready(Err(limited));
        }
        let give_up = now.saturating_add(nanos(longest)).min(deadline);
        match self.shared.join(now, self.cost, give_up, cx.waker()) {
            Ok(None) => Poll::Ready(Ok(None)),
            Ok(Some(place)) => {
                self.stage = Stage::Waiting { place, since: now, give_up, sleep: None };
                Poll::Pending
            }
            Err(limited) => Poll::Ready(Err(limited)),
        }
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Duration>, Limited>> {
        let Stage::Waiting { place, since, give_up, sleep } = &mut self.stage else {
            return Poll::Pending;
        };
        let shared = &self.shared;
        loop {
            let now = shared.settings().clock().now();
            match shared.step(now, *place, self.cost, *give_up, cx.waker()) {
                Step::Go => {
                    let waited = Duration::from_nanos(now.saturating_sub(*since));
                    self.stage = Stage::Done;
                    return Poll::Ready(Ok(Some(waited)));
                }
                Step::Refused(limited) => {
                    self.stage = Stage::Done;
                    return Poll::Ready(Err(limited));
                }
                // Those before it may have no deadline: its own needs a timer of its own.
                Step::Behind
                    if *give_up < u64::MAX && (self.deadline.is_some() || !L::FORESEEN) =>
                {
                    ready!(sleep_to(sleep, shared.as_ref(), (*give_up).saturating_add(1), cx));
                }
                Step::Behind => return Poll::Pending,
                Step::Until(at) => ready!(sleep_to(sleep, shared.as_ref(), at, cx)),
            }
        }
    }
}

fn sleep_to<L: Admit>(
    sleep: &mut Option<Pin<Box<Sleep>>>,
    shared: &Shared<L>,
    at: u64,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let at = shared.settings().clock().instant(at);
    let sleep = sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
    if sleep.deadline() != at {
        sleep.as_mut().reset(at);
    }
    sleep.as_mut().poll(cx)
}

impl<L: Admit> Future for Turn<L> {
    type Output = Result<Option<Duration>, Limited>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let result = match this.stage {
            Stage::New => match this.begin(cx) {
                // As the first one it needs a timer.
                Poll::Pending => ready!(this.wait(cx)),
                Poll::Ready(result) => result,
            },
            Stage::Waiting { .. } => ready!(this.wait(cx)),
            Stage::Done => panic!("polled after it was ready"),
        };
        this.stage = Stage::Done;
        if let Err(limited) = &result {
            this.shared.tell_refusal(limited, true);
        }
        Poll::Ready(result)
    }
}

impl<L: Admit> Drop for Turn<L> {
    fn drop(&mut self) {
        if let Stage::Waiting { place, .. } = self.stage {
            self.shared.leave(place);
        }
    }
}

use std::{fmt, mem, time::Duration};

use palisade_core::Outcome;

use crate::{
    breaker::{Breaker, Token, grade},
    word::Grade,
};

/// What a call holds so that its breaker is there when it ends.
pub(crate) trait Hold {
    /// Whether a drop while the thread panics means that the call panicked:
    /// so it does where nobody sees the service at work.
    const UNWINDS: bool = false;

    /// The breaker, if there is one for the call.
    fn breaker(&self) -> Option<&Breaker>;
}

/// A call that its breaker waits for. Dropped, it counts as cancelled, or as
/// failed if the service panicked.
pub(crate) struct Ongoing<H: Hold> {
    hold: H,
    token: Token,
    // Set while the service is at work, and so for ever once it panics.
    at_work: bool,
}

impl<H: Hold> Ongoing<H> {
    #[inline]
    pub(crate) fn new(hold: H, token: Token) -> Self {
        Self { hold, token, at_work: false }
    }

    pub(crate) fn hold(&self) -> &H {
        &self.hold
    }

    /// Lets the service work on the call, and remembers if it panics.
    #[inline]
    pub(crate) fn work<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.at_work = true;
        let done = work();
        self.at_work = false;
        done
    }

    /// Counts the call as this. Once: after that, and after the methods below,
    /// nothing counts any more.
    #[inline]
    pub(crate) fn record(&mut self, outcome: Outcome, hint: impl Fn(&H) -> Option<Duration>) {
        let token = self.take();
        if let Some(breaker) = self.hold.breaker() {
            let hint = || hint(&self.hold);
            breaker.record(token, grade(outcome), hint, || breaker.settings.now());
        }
    }

    /// Counts the call as a drop of it would, though as this instead of as
    /// nothing.
    pub(crate) fn let_go(&mut self, outcome: Outcome) {
        self.abandon(grade(outcome), self.at_work);
    }

    /// Counts the call as a panic of the service.
    pub(crate) fn panicked(&mut self) {
        self.abandon(Grade::Failure, true);
    }

    /// Hands the call over to another holder of its breaker, if it has one.
    pub(crate) fn move_to<O: Hold>(
        &mut self,
        hold: impl FnOnce(&H) -> Option<O>,
    ) -> Option<Ongoing<O>> {
        let token = self.take();
        hold(&self.hold).map(|hold| Ongoing::new(hold, token))
    }

    fn abandon(&mut self, otherwise: Grade, panicked: bool) {
        let token = self.take();
        if let Some(breaker) = self.hold.breaker() {
            breaker.abandon(token, panicked, otherwise, || breaker.settings.now());
        }
    }

    #[inline]
    fn take(&mut self) -> Token {
        mem::replace(&mut self.token, Token::UNCOUNTED)
    }
}

impl<H: Hold> Drop for Ongoing<H> {
    #[inline]
    fn drop(&mut self) {
        if self.token.counts() {
            let panicked = self.at_work || H::UNWINDS && std::thread::panicking();
            self.abandon(Grade::Ignore, panicked);
        }
    }
}

/// Polls the readiness of a service. A panic there is a failure.
#[inline]
pub(crate) fn poll_ready<T>(breaker: Option<&Breaker>, poll: impl FnOnce() -> T) -> T {
    let at_work = AtWork(breaker);
    let polled = poll();
    mem::forget(at_work);
    polled
}

struct AtWork<'a>(Option<&'a Breaker>);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        if let Some(breaker) = self.0 {
            breaker.count_unready(Grade::Failure);
        }
    }
}

impl<H: Hold> fmt::Debug for Ongoing<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ongoing").field("token", &self.token).finish_non_exhaustive()
    }
}

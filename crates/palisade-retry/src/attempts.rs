use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use palisade_core::Outcome;

use crate::{
    Budget, Stop, Ticket,
    plan::{Delay, Plan, Progress, is_refusal},
    rules::Settings,
};

/// What is kept of a call that may be retried, whichever engine makes the
/// attempts.
pub(crate) struct Attempts<A, Tk> {
    pub(crate) plan: Plan,
    pub(crate) progress: Progress,
    account: A,
    ticket: Option<Tk>,
}

impl<A, Tk> Attempts<A, Tk> {
    /// The first attempt is under way.
    pub(crate) fn new(plan: Plan, account: A) -> Self {
        Self { plan, progress: Progress::default(), account, ticket: None }
    }

    /// Takes the ticket of the next attempt. The attempt that ended gives its
    /// own back before; one that is made again keeps what it has.
    pub(crate) fn withdraw<G>(&mut self, budget: &G, outcome: Outcome) -> Result<Option<Tk>, Stop>
    where
        G: Budget<Account = A, Ticket = Tk>,
    {
        let own = self.ticket.take();
        if is_refusal(outcome) {
            return Ok(own);
        }
        drop(own);
        budget.withdraw(&self.account).map(Some).ok_or(Stop::Budget)
    }

    /// Begins the wait for the next attempt, and says how long it is.
    pub(crate) fn wait(&mut self, delay: Delay, ticket: Option<Tk>, outcome: Outcome) -> Duration {
        let progress = &mut self.progress;
        progress.refused = is_refusal(outcome);
        progress.refusals = progress.refusals.saturating_add(progress.refused.into());
        self.ticket = ticket;
        progress.scheduled = delay.scheduled;
        progress.delay = progress.delay.saturating_add(delay.total);
        delay.total
    }

    /// Whether the next attempt is one more, and not the last one again.
    pub(crate) fn is_new(&self) -> bool {
        !self.progress.refused
    }

    /// Counts the next attempt, and writes its number where that is wanted.
    pub(crate) fn count(&mut self, settings: &Settings, headers: &mut HeaderMap) {
        if self.is_new() {
            self.progress.attempt += 1;
        }
        if let Some(name) = &settings.attempt_header
            && 1 < self.progress.attempt
        {
            // A map that is full does without.
            let number = HeaderValue::from(self.progress.attempt);
            let _ = headers.try_insert(name, number);
        }
    }

    /// Spends the ticket: the attempt is being sent.
    pub(crate) fn spend(&mut self)
    where
        Tk: Ticket,
    {
        if let Some(ticket) = &mut self.ticket {
            ticket.spend();
        }
    }
}

use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use crate::{
    Budget, Stop, Ticket,
    rules::{Delay, Plan, Progress, Settings},
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
    /// own back before.
    pub(crate) fn withdraw<G>(&mut self, budget: &G) -> Result<Tk, Stop>
    where
        G: Budget<Account = A, Ticket = Tk>,
    {
        self.ticket = None;
        budget.withdraw(&self.account).ok_or(Stop::Budget)
    }

    /// Begins the wait for the next attempt, and says how long it is.
    pub(crate) fn wait(&mut self, delay: Delay, ticket: Tk) -> Duration {
        self.ticket = Some(ticket);
        self.progress.scheduled = delay.scheduled;
        self.progress.delay = self.progress.delay.saturating_add(delay.total);
        delay.total
    }

    /// Counts the next attempt, and writes its number where that is wanted.
    pub(crate) fn count(&mut self, settings: &Settings, headers: &mut HeaderMap) {
        self.progress.attempt += 1;
        if let Some(name) = &settings.attempt_header {
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

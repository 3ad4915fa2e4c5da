mod in_flight;
mod keyed;
mod token;
mod window;

use palisade_core::Head;
use palisade_settings::InvalidSetting;

pub use self::{
    in_flight::{InFlightAccount, InFlightBudget, InFlightTicket},
    keyed::{KeyedAccount, KeyedBudget},
    token::{TokenBudget, TokenTicket},
    window::{WindowBudget, WindowTicket},
};

/// Bounds how much of the traffic may be retries.
///
/// When a service is down, every call fails, and a client that makes three
/// attempts each triples the load on what is already on its knees. A budget
/// lets retries be a share of the calls instead. An attempt that a layer on this
/// side refused, which is no load, is made again with the ticket that it has.
///
/// Clones share what they count, so that one budget can serve several layers.
pub trait Budget {
    /// What a call holds while it lasts.
    type Account;
    /// The right to one retry. Held until the attempt ends.
    type Ticket: Ticket;

    /// A call begins that may be retried.
    fn open(&self, head: Head<'_>) -> Self::Account;

    /// Takes a ticket, if the budget allows one.
    fn withdraw(&self, account: &Self::Account) -> Option<Self::Ticket>;
}

/// The right to one retry.
///
/// Dropped before it is [`spent`](Self::spend), it goes back to the budget.
pub trait Ticket {
    /// The retry is being sent.
    fn spend(&mut self);
}

impl Ticket for () {
    fn spend(&mut self) {}
}

/// No budget: retries are bounded by the attempts alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unlimited;

impl Budget for Unlimited {
    type Account = ();
    type Ticket = ();

    fn open(&self, _: Head<'_>) {}

    fn withdraw(&self, (): &()) -> Option<()> {
        Some(())
    }
}

/// Nothing is no budget, for settings that may leave it out.
impl<G: Budget> Budget for Option<G> {
    type Account = Option<G::Account>;
    type Ticket = Option<G::Ticket>;

    fn open(&self, head: Head<'_>) -> Self::Account {
        self.as_ref().map(|budget| budget.open(head))
    }

    fn withdraw(&self, account: &Self::Account) -> Option<Self::Ticket> {
        match (self, account) {
            (Some(budget), Some(account)) => budget.withdraw(account).map(Some),
            _ => Some(None),
        }
    }
}

impl<T: Ticket> Ticket for Option<T> {
    fn spend(&mut self) {
        if let Some(ticket) = self {
            ticket.spend();
        }
    }
}

/// Checks a ratio of retries to calls, and counts it in thousandths.
fn check_ratio(ratio: f64) -> Result<u64, InvalidSetting> {
    if !(0.0..=1000.0).contains(&ratio) {
        return Err(InvalidSetting::new(
            "a ratio of retries to calls must be from 0 to 1000: write 0.2 for one retry in five calls",
        ));
    }
    let milli = (ratio * 1000.0).round() as u64;
    Ok(if ratio > 0.0 { milli.max(1) } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_optional_budget_bounds_only_where_it_is() {
        let request = http::Request::new(());
        let check = |budget: Option<TokenBudget>| {
            let account = budget.open(Head::of(&request));
            let retries =
                std::iter::from_fn(|| budget.withdraw(&account)).map(|mut ticket| ticket.spend());
            retries.take(10).count()
        };
        assert_eq!(check(Some(TokenBudget::new(0.0, 3))), 3);
        assert_eq!(check(None), 10);
    }

    #[test]
    fn ratios_are_checked_and_kept_exact() {
        for (ratio, milli) in
            [(0.0, 0), (0.2, 200), (0.6, 600), (1.0 / 3.0, 333), (2.5, 2500), (1e-9, 1)]
        {
            assert_eq!(check_ratio(ratio), Ok(milli));
        }
        for ratio in [-0.1, f64::NAN, f64::INFINITY, 1000.1] {
            assert!(check_ratio(ratio).is_err(), "{ratio}");
        }
    }
}

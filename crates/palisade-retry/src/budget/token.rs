use std::sync::atomic::Ordering;

use palisade_core::Head;
use palisade_settings::{InvalidSetting, literal};

use super::{Budget, Ticket, check_ratio};
use crate::sync::{Arc, AtomicU64};

/// Each call earns a share of a retry, up to a reserve. The default.
///
/// No clock and no lock: while all goes well the reserve is full, and a call
/// costs one load. When a service fails for long, retries are `ratio` times
/// the calls and no more. The reserve covers what comes before that: calls that
/// fail all at once, as what they would earn has no room, and clients that
/// make few calls. As in gRPC's retry throttling (gRFC A6) and Finagle's
/// `RetryBudget`.
///
/// ```
/// use palisade_retry::{RetryLayer, TokenBudget};
/// use tower::Layer;
/// # let client = tower::service_fn(|_: http::Request<String>| async { Ok::<_, std::io::Error>(http::Response::new(String::new())) });
///
/// // At most one retry in ten calls, and 50 more.
/// let budget = TokenBudget::new(0.1, 50);
/// let client = RetryLayer::http().budget(budget.clone()).layer(client);
/// # let _ = tower::ServiceExt::oneshot(client, http::Request::new(String::new()));
/// assert_eq!(budget.available(), 50);
/// ```
#[derive(Clone, Debug)]
pub struct TokenBudget {
    purse: Arc<Purse>,
}

/// Counts in thousandths of a retry.
#[derive(Debug)]
struct Purse {
    balance: AtomicU64,
    most: u64,
    earned: u64,
}

const RETRY: u64 = 1000;

impl TokenBudget {
    /// A budget of `ratio` retries a call, and a full reserve of `reserve`
    /// retries.
    ///
    /// # Panics
    ///
    /// If `ratio` is not from 0 to 1000.
    #[track_caller]
    pub fn new(ratio: f64, reserve: u32) -> Self {
        literal(Self::try_new(ratio, reserve))
    }

    /// As [`new`](Self::new), for values from outside.
    ///
    /// # Errors
    ///
    /// If `ratio` is not from 0 to 1000.
    pub fn try_new(ratio: f64, reserve: u32) -> Result<Self, InvalidSetting> {
        let reserve = u64::from(reserve) * RETRY;
        Ok(Self {
            purse: Arc::new(Purse {
                balance: AtomicU64::new(reserve),
                // Without room for one, no retry could ever be earned.
                most: reserve.max(RETRY),
                earned: check_ratio(ratio)?,
            }),
        })
    }

    /// How many retries could be made now.
    pub fn available(&self) -> u32 {
        let retries = self.purse.balance.load(Ordering::Relaxed) / RETRY;
        u32::try_from(retries).unwrap_or(u32::MAX)
    }
}

/// One retry in five calls, and a reserve of 100.
impl Default for TokenBudget {
    fn default() -> Self {
        Self::new(0.2, 100)
    }
}

impl Purse {
    // Relaxed everywhere: the balance guards no other memory.
    fn earn(&self, amount: u64) {
        let grow = |balance: u64| (balance < self.most).then(|| (balance + amount).min(self.most));
        // `Err` says that the purse is full: nothing is written then.
        let _ = self.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow);
    }

    fn take(&self) -> bool {
        let shrink = |balance: u64| balance.checked_sub(RETRY);
        self.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, shrink).is_ok()
    }
}

impl Budget for TokenBudget {
    type Account = ();
    type Ticket = TokenTicket;

    fn open(&self, _: Head<'_>) {
        self.purse.earn(self.purse.earned);
    }

    fn withdraw(&self, (): &()) -> Option<TokenTicket> {
        self.purse.take().then(|| TokenTicket { unspent: Some(Arc::clone(&self.purse)) })
    }
}

/// A retry taken from a [`TokenBudget`].
#[derive(Debug)]
pub struct TokenTicket {
    unspent: Option<Arc<Purse>>,
}

impl Ticket for TokenTicket {
    fn spend(&mut self) {
        self.unspent = None;
    }
}

impl Drop for TokenTicket {
    fn drop(&mut self) {
        if let Some(purse) = self.unspent.take() {
            purse.earn(RETRY);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn open(budget: &TokenBudget) {
        budget.open(Head::of(&Request::new(())));
    }

    fn spend(budget: &TokenBudget) -> bool {
        budget.withdraw(&()).map(|mut ticket| ticket.spend()).is_some()
    }

    #[test]
    fn retries_are_a_share_of_the_calls() {
        let budget = TokenBudget::new(0.2, 10);
        let mut retries = 0;
        for _ in 0..1000 {
            open(&budget);
            retries += u32::from(spend(&budget));
        }
        // The reserve is full when the first call begins, so that one earns nothing.
        assert!((200..=210).contains(&retries), "{retries}");
    }

    #[test]
    fn an_exact_ratio_is_kept() {
        let budget = TokenBudget::new(0.6, 100);
        while spend(&budget) {}
        let mut retries = 0;
        for _ in 0..1000 {
            open(&budget);
            while spend(&budget) {
                retries += 1;
            }
        }
        assert_eq!(retries, 600);
    }

    #[test]
    fn retries_are_earned_without_a_reserve() {
        let budget = TokenBudget::new(0.25, 0);
        let retries = (0..100).filter(|_| {
            open(&budget);
            spend(&budget)
        });
        assert_eq!(retries.count(), 25);
    }

    #[test]
    fn a_ticket_that_is_dropped_goes_back() {
        let budget = TokenBudget::new(0.0, 2);
        let ticket = budget.withdraw(&());
        assert_eq!(budget.available(), 1);
        drop(ticket);
        assert_eq!(budget.available(), 2);
        assert!(spend(&budget));
        assert_eq!(budget.available(), 1);
    }

    #[test]
    fn clones_share_the_purse() {
        let budget = TokenBudget::new(0.0, 1);
        let other = budget.clone();
        assert!(spend(&other));
        assert!(!spend(&budget));
    }
}

#[cfg(all(test, palisade_loom))]
mod models {
    use std::sync::atomic::AtomicU32;

    use loom::thread;

    use super::*;

    fn budget(balance: u64, most: u64) -> TokenBudget {
        TokenBudget {
            purse: Arc::new(Purse { balance: AtomicU64::new(balance), most, earned: 600 }),
        }
    }

    fn balance(budget: &TokenBudget) -> u64 {
        budget.purse.balance.load(Ordering::Relaxed)
    }

    #[test]
    fn spends_what_there_was_and_what_is_earned() {
        loom::model(|| {
            let budget = budget(600, 2 * RETRY);
            let call = {
                let budget = budget.clone();
                move || {
                    budget.purse.earn(600);
                    let ticket = budget.withdraw(&());
                    ticket.map_or(0, |mut ticket| {
                        ticket.spend();
                        RETRY
                    })
                }
            };
            let other = thread::spawn(call.clone());
            let spent = call() + other.join().unwrap();
            assert_eq!(spent, RETRY);
            assert_eq!(balance(&budget), 600 + 2 * 600 - spent);
        });
    }

    #[test]
    fn a_ticket_is_held_by_one_and_comes_back_once() {
        loom::model(|| {
            let budget = budget(RETRY, 2 * RETRY);
            let held = Arc::new(AtomicU32::new(0));
            let attempt = {
                let (budget, held) = (budget.clone(), Arc::clone(&held));
                move || {
                    if let Some(ticket) = budget.withdraw(&()) {
                        assert_eq!(held.fetch_add(1, Ordering::Relaxed), 0);
                        assert_eq!(balance(&budget), 0);
                        held.fetch_sub(1, Ordering::Relaxed);
                        drop(ticket);
                    }
                }
            };
            let other = thread::spawn(attempt.clone());
            attempt();
            other.join().unwrap();
            assert_eq!(balance(&budget), RETRY);
        });
    }

    #[test]
    fn the_reserve_is_never_passed() {
        loom::model(|| {
            let budget = budget(2 * RETRY, 2 * RETRY);
            let ticket = budget.withdraw(&());
            let other = thread::spawn({
                let budget = budget.clone();
                move || budget.purse.earn(600)
            });
            drop(ticket);
            assert!(balance(&budget) <= 2 * RETRY);
            other.join().unwrap();
            assert_eq!(balance(&budget), 2 * RETRY);
        });
    }
}

use std::sync::atomic::Ordering;

use palisade_core::Head;
use palisade_settings::{InvalidSetting, literal};

use super::{Budget, Ticket, check_ratio};
use crate::sync::{Arc, AtomicU64};

/// Bounds the retries in flight by the calls in flight.
///
/// Suits clients whose concurrency is what a failing service suffers from. As
/// Envoy's `retry_budget`. A retry counts from the decision to retry, through
/// the wait, to the end of the attempt.
///
/// ```
/// use palisade_retry::{InFlightBudget, RetryLayer};
/// use tower::Layer;
/// # let client = tower::service_fn(|_: http::Request<String>| async { Ok::<_, std::io::Error>(http::Response::new(String::new())) });
///
/// // Of the calls in flight, one in five may be at a retry; three always may.
/// let client = RetryLayer::http().budget(InFlightBudget::new(0.2, 3)).layer(client);
/// # let _ = tower::ServiceExt::oneshot(client, http::Request::new(String::new()));
/// ```
#[derive(Clone, Debug)]
pub struct InFlightBudget {
    gauge: Arc<Gauge>,
}

#[derive(Debug)]
struct Gauge {
    calls: AtomicU64,
    retries: AtomicU64,
    ratio: u64,
    min: u64,
}

impl InFlightBudget {
    /// A budget of `ratio` retries in flight for each call in flight, and of
    /// at least `min`.
    ///
    /// # Panics
    ///
    /// If `ratio` is not from 0 to 1000.
    #[track_caller]
    pub fn new(ratio: f64, min: u32) -> Self {
        literal(Self::try_new(ratio, min))
    }

    /// As [`new`](Self::new), for values from outside.
    ///
    /// # Errors
    ///
    /// If `ratio` is not from 0 to 1000.
    pub fn try_new(ratio: f64, min: u32) -> Result<Self, InvalidSetting> {
        Ok(Self {
            gauge: Arc::new(Gauge {
                calls: AtomicU64::new(0),
                retries: AtomicU64::new(0),
                ratio: check_ratio(ratio)?,
                min: min.into(),
            }),
        })
    }
}

impl Budget for InFlightBudget {
    type Account = InFlightAccount;
    type Ticket = InFlightTicket;

    fn open(&self, _: Head<'_>) -> InFlightAccount {
        self.gauge.calls.fetch_add(1, Ordering::Relaxed);
        InFlightAccount(Arc::clone(&self.gauge))
    }

    fn withdraw(&self, _: &InFlightAccount) -> Option<InFlightTicket> {
        let calls = self.gauge.calls.load(Ordering::Relaxed);
        let most = (calls * self.gauge.ratio / 1000).max(self.gauge.min);
        let grow = |retries| (retries < most).then_some(retries + 1);
        let taken = self.gauge.retries.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow);
        taken.is_ok().then(|| InFlightTicket(Arc::clone(&self.gauge)))
    }
}

/// A call that an [`InFlightBudget`] counts.
#[derive(Debug)]
pub struct InFlightAccount(Arc<Gauge>);

impl Drop for InFlightAccount {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A retry that an [`InFlightBudget`] counts.
#[derive(Debug)]
pub struct InFlightTicket(Arc<Gauge>);

impl Ticket for InFlightTicket {
    // It counts until the attempt ends.
    fn spend(&mut self) {}
}

impl Drop for InFlightTicket {
    fn drop(&mut self) {
        self.0.retries.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn retries_follow_the_calls_in_flight() {
        let budget = InFlightBudget::new(0.2, 1);
        let mut calls: Vec<_> = (0..20).map(|_| budget.open(Head::of(&Request::new(())))).collect();
        let mut tickets: Vec<_> = std::iter::from_fn(|| budget.withdraw(&calls[0])).collect();
        assert_eq!(tickets.len(), 4);

        calls.truncate(1);
        assert!(budget.withdraw(&calls[0]).is_none());
        tickets.clear();
        let last = budget.withdraw(&calls[0]);
        assert!(last.is_some(), "the least is always allowed");
        assert!(budget.withdraw(&calls[0]).is_none());

        drop((calls, last));
        assert_eq!(budget.gauge.calls.load(Ordering::Relaxed), 0);
        assert_eq!(budget.gauge.retries.load(Ordering::Relaxed), 0);
    }
}

#[cfg(all(test, palisade_loom))]
mod models {
    use std::sync::atomic::AtomicU32;

    use http::Request;
    use loom::thread;

    use super::*;

    /// Makes two calls at once, and returns how many of them got a retry.
    fn retries(budget: &InFlightBudget, most: u32) -> u32 {
        let held = Arc::new(AtomicU32::new(0));
        let call = {
            let (budget, held) = (budget.clone(), Arc::clone(&held));
            move || {
                let account = budget.open(Head::of(&Request::new(())));
                let ticket = budget.withdraw(&account);
                let got = ticket.is_some();
                if got {
                    assert!(held.fetch_add(1, Ordering::Relaxed) < most);
                    let retries = budget.gauge.retries.load(Ordering::Relaxed);
                    assert!((1..=u64::from(most)).contains(&retries));
                    held.fetch_sub(1, Ordering::Relaxed);
                }
                u32::from(got)
            }
        };
        let other = thread::spawn(call.clone());
        let got = call() + other.join().expect("the other call does not panic");
        assert_eq!(budget.gauge.calls.load(Ordering::Relaxed), 0);
        assert_eq!(budget.gauge.retries.load(Ordering::Relaxed), 0);
        got
    }

    #[test]
    fn the_least_is_allowed_and_no_more() {
        loom::model(|| {
            let budget = InFlightBudget::new(0.0, 1);
            assert!(1 <= retries(&budget, 1));
        });
        loom::model(|| {
            let budget = InFlightBudget::new(0.0, 2);
            assert_eq!(retries(&budget, 2), 2);
        });
    }

    #[test]
    fn two_calls_in_flight_share_a_retry() {
        loom::model(|| {
            let budget = InFlightBudget::new(0.5, 0);
            retries(&budget, 1);
        });
    }
}

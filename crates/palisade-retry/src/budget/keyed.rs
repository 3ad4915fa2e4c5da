use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use palisade_core::{Head, KeyBy, KeyRef};
use palisade_settings::{InvalidSetting, literal};
use quick_cache::{Equivalent, sync::Cache};

use super::Budget;

/// One budget per key: per authority, endpoint, tenant.
///
/// A host that is down then uses up its own retries, and not those of the
/// others. At most `capacity` budgets are kept; past that, those that are used
/// least give way, and start afresh when their key comes back; leave room for
/// twice the keys that are in use.
///
/// ```
/// use palisade_core::ByAuthority;
/// use palisade_retry::{KeyedBudget, RetryLayer, TokenBudget};
/// use tower::Layer;
/// # let client = tower::service_fn(|_: http::Request<String>| async { Ok::<_, std::io::Error>(http::Response::new(String::new())) });
///
/// let budget = KeyedBudget::new(ByAuthority, 10_000, TokenBudget::default);
/// let client = RetryLayer::http().budget(budget).layer(client);
/// # let _ = tower::ServiceExt::oneshot(client, http::Request::new(String::new()));
/// ```
pub struct KeyedBudget<K: KeyBy, G, F = fn() -> G> {
    shared: Arc<Shared<K, G, F>>,
}

struct Shared<K: KeyBy, G, F> {
    by: K,
    make: F,
    budgets: Cache<K::Key, G>,
}

impl<K, G, F> KeyedBudget<K, G, F>
where
    K: KeyBy,
    G: Budget + Clone,
    F: Fn() -> G,
{
    /// At most `capacity` budgets, each made by `make`. Clones of a budget
    /// must share what they count, as all of this crate do.
    ///
    /// # Panics
    ///
    /// If `capacity` is zero.
    #[track_caller]
    pub fn new(by: K, capacity: usize, make: F) -> Self {
        literal(Self::try_new(by, capacity, make))
    }

    /// As [`new`](Self::new), for values from outside.
    ///
    /// # Errors
    ///
    /// If `capacity` is zero.
    pub fn try_new(by: K, capacity: usize, make: F) -> Result<Self, InvalidSetting> {
        if capacity == 0 {
            return Err(InvalidSetting::new(
                "a keyed budget keeps at least one: write `Unlimited` for no budget",
            ));
        }
        let budgets = Cache::new(capacity);
        Ok(Self { shared: Arc::new(Shared { by, make, budgets }) })
    }

    /// How many budgets are kept now.
    pub fn len(&self) -> usize {
        self.shared.budgets.len()
    }

    /// Whether no budget is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: KeyBy, G, F> Clone for KeyedBudget<K, G, F> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K: KeyBy, G, F> fmt::Debug for KeyedBudget<K, G, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedBudget").finish_non_exhaustive()
    }
}

impl<K, G, F> Budget for KeyedBudget<K, G, F>
where
    K: KeyBy,
    G: Budget + Clone,
    F: Fn() -> G,
{
    type Account = KeyedAccount<G>;
    type Ticket = G::Ticket;

    fn open(&self, head: Head<'_>) -> Self::Account {
        let Shared { by, make, budgets } = &*self.shared;
        let key = by.key(head);
        let budget = budgets.get(&Borrowed(&key)).unwrap_or_else(|| {
            let made = budgets
                .get_or_insert_with(&key.to_key(), || Ok::<_, std::convert::Infallible>(make()));
            match made {
                Ok(budget) => budget,
                Err(never) => match never {},
            }
        });
        let account = budget.open(head);
        KeyedAccount { budget, account }
    }

    fn withdraw(&self, account: &Self::Account) -> Option<Self::Ticket> {
        account.budget.withdraw(&account.account)
    }
}

/// A call, and the budget of its key.
pub struct KeyedAccount<G: Budget> {
    budget: G,
    account: G::Account,
}

impl<G: Budget> fmt::Debug for KeyedAccount<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedAccount").finish_non_exhaustive()
    }
}

/// The form in which a key is looked up.
struct Borrowed<'r, R>(&'r R);

impl<R: Hash> Hash for Borrowed<'_, R> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<K, R: KeyRef<K>> Equivalent<K> for Borrowed<'_, R> {
    fn equivalent(&self, key: &K) -> bool {
        self.0.is(key)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use palisade_core::ByAuthority;

    use super::*;
    use crate::{Ticket, TokenBudget};

    fn request(host: &str) -> Request<()> {
        Request::get(format!("https://{host}/")).body(()).unwrap()
    }

    fn retry(budget: &impl Budget, host: &str) -> bool {
        let account = budget.open(Head::of(&request(host)));
        budget.withdraw(&account).map(|mut ticket| ticket.spend()).is_some()
    }

    #[test]
    fn keys_do_not_share_and_clones_do() {
        let budget = KeyedBudget::new(ByAuthority, 100, || TokenBudget::new(0.0, 1));
        assert!(retry(&budget, "a.example"));
        let other = budget.clone();
        assert!(!retry(&other, "a.example"));
        assert!(retry(&budget, "b.example"));
        assert_eq!(budget.len(), 2);
    }

    #[test]
    fn memory_is_bounded() {
        let budget = KeyedBudget::new(ByAuthority, 100, TokenBudget::default);
        for host in 0..10_000 {
            budget.open(Head::of(&request(&format!("host-{host}.example"))));
        }
        assert!(budget.len() <= 100, "{}", budget.len());
        assert!(KeyedBudget::try_new(ByAuthority, 0, TokenBudget::default).is_err());
    }

    #[test]
    fn a_known_key_is_found_without_an_allocation() {
        let budget = KeyedBudget::new(ByAuthority, 100, TokenBudget::default);
        let request = request("a.example");
        drop(budget.open(Head::of(&request)));
        let counted = allocation_counter::measure(|| drop(budget.open(Head::of(&request))));
        assert_eq!(counted.count_total, 0);
    }
}

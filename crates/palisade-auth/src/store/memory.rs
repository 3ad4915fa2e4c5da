use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use palisade_core::BoxError;
use tokio::{runtime::Handle, sync::OwnedMutexGuard, time::timeout};

use super::{Record, StoreFuture, StoreLock, TokenStore, Version};

/// Keeps logins as long as the process lives. Clones are the same store.
///
/// ```
/// use palisade_auth::{MemoryTokenStore, Record, TokenStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let store = MemoryTokenStore::new();
/// let mut login = Record::default();
/// login.refresh_token = Some("tGzv3JOkF0XG5Qx2TlKWIA".into());
///
/// let first = store.swap("alice", None, Some(&login)).await?;
/// assert!(first.is_some());
/// // Another one was quicker: nothing is changed.
/// assert_eq!(store.swap("alice", None, Some(&login)).await?, None);
/// assert_eq!(store.load("alice").await?.map(|(version, _)| version), first);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct MemoryTokenStore {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    records: HashMap<String, (Version, Record)>,
    locks: HashMap<String, Arc<tokio::sync::Mutex<()>>>,
    last: u64,
}

impl MemoryTokenStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn swap(&mut self, name: &str, old: Option<Version>, new: Option<&Record>) -> Option<Version> {
        if self.records.get(name).map(|(version, _)| *version) != old {
            return None;
        }
        self.last += 1;
        let version = Version(self.last);
        match new {
            Some(record) => self.records.insert(name.to_owned(), (version, record.clone())),
            None => self.records.remove(name),
        };
        Some(version)
    }

    fn lock(&mut self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        // Those that nobody has or waits for.
        self.locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(self.locks.entry(name.to_owned()).or_default())
    }
}

impl TokenStore for MemoryTokenStore {
    fn load<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Option<(Version, Record)>> {
        Box::pin(async move { Ok(self.kept().records.get(name).cloned()) })
    }

    fn swap<'a>(
        &'a self,
        name: &'a str,
        old: Option<Version>,
        new: Option<&'a Record>,
    ) -> StoreFuture<'a, Option<Version>> {
        Box::pin(async move { Ok(self.kept().swap(name, old, new)) })
    }

    /// Without a tokio runtime, it is waited for without bound.
    fn lock<'a>(&'a self, name: &'a str, longest: Duration) -> StoreFuture<'a, StoreLock> {
        Box::pin(async move {
            let lock = self.kept().lock(name).lock_owned();
            let guard: OwnedMutexGuard<()> = match Handle::try_current() {
                Ok(_) => timeout(longest, lock).await.map_err(|_| BoxError::from(HELD))?,
                Err(_) => lock.await,
            };
            Ok(StoreLock::new(guard))
        })
    }
}

const HELD: &str = "another one still refreshes this login";

impl fmt::Debug for MemoryTokenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTokenStore").field("logins", &self.kept().records.len()).finish()
    }
}

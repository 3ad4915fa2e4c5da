//! A store as it is made of Redis: it compares versions in a script, its locks are
//! leases (`SET NX PX`), and all that it does is a round trip.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use palisade_auth::{Record, StoreFuture, StoreLock, TokenStore, Version};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

use crate::rotating_server::yields;

/// Clones are the same store.
#[derive(Clone, Default)]
pub(crate) struct LeaseStore {
    server: Arc<Mutex<Server>>,
}

#[derive(Default)]
struct Server {
    records: HashMap<String, (Version, Record)>,
    leases: HashMap<String, (u64, Instant)>,
    count: u64,
}

impl LeaseStore {
    /// Goes there and back.
    async fn server(&self) -> MutexGuard<'_, Server> {
        yields(1).await;
        self.server.lock().unwrap()
    }
}

impl TokenStore for LeaseStore {
    fn load<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Option<(Version, Record)>> {
        Box::pin(async move { Ok(self.server().await.records.get(name).cloned()) })
    }

    fn swap<'a>(
        &'a self,
        name: &'a str,
        old: Option<Version>,
        new: Option<&'a Record>,
    ) -> StoreFuture<'a, Option<Version>> {
        Box::pin(async move {
            let mut server = self.server().await;
            if server.records.get(name).map(|(version, _)| *version) != old {
                return Ok(None);
            }
            server.count += 1;
            let version = Version(server.count);
            match new {
                Some(record) => server.records.insert(name.to_owned(), (version, record.clone())),
                None => server.records.remove(name),
            };
            Ok(Some(version))
        })
    }

    fn lock<'a>(&'a self, name: &'a str, longest: Duration) -> StoreFuture<'a, StoreLock> {
        Box::pin(async move {
            let give_up = Instant::now() + longest;
            loop {
                let now = Instant::now();
                {
                    let mut server = self.server().await;
                    if server.leases.get(name).is_none_or(|(_, until)| *until <= now) {
                        server.count += 1;
                        let lease = Lease {
                            store: self.clone(),
                            name: name.to_owned(),
                            owner: server.count,
                        };
                        server.leases.insert(name.to_owned(), (lease.owner, now + longest));
                        return Ok(StoreLock::new(lease));
                    }
                }
                if give_up <= now {
                    return Err("another one still has the lease".into());
                }
                sleep(Duration::from_millis(1)).await;
            }
        })
    }
}

struct Lease {
    store: LeaseStore,
    name: String,
    owner: u64,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (store, name, owner) = (self.store.clone(), self.name.clone(), self.owner);
        // Without a runtime, it ends by its time.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let mut server = store.server().await;
                if server.leases.get(&name).is_some_and(|(other, _)| *other == owner) {
                    server.leases.remove(&name);
                }
            });
        }
    }
}

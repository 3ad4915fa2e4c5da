//! A store that fails when it is told to, and takes its time.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use palisade_auth::{MemoryTokenStore, Record, StoreFuture, StoreLock, TokenStore, Version};

use crate::rotating_server::yields;

/// What goes wrong, the next time that this is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failing {
    Lock,
    Load,
    Swap,
    /// It is done, and said to have failed.
    SwapSaid,
    /// Another one takes the record away first.
    SwapAfterRemoval,
}

/// Clones are the same store.
#[derive(Clone, Default)]
pub(crate) struct FaultyStore {
    pub(crate) inner: MemoryTokenStore,
    failing: Arc<Mutex<VecDeque<Failing>>>,
    yields: usize,
}

impl FaultyStore {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn slow(yields: usize) -> Self {
        Self { yields, ..Self::default() }
    }

    pub(crate) fn fail(&self, failing: Failing) {
        self.failing.lock().unwrap().push_back(failing);
    }

    fn fails(&self, points: &[Failing]) -> Option<Failing> {
        let mut failing = self.failing.lock().unwrap();
        let next = failing.front().filter(|next| points.contains(next)).copied();
        if next.is_some() {
            failing.pop_front();
        }
        next
    }
}

impl TokenStore for FaultyStore {
    fn load<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Option<(Version, Record)>> {
        Box::pin(async move {
            yields(self.yields).await;
            if self.fails(&[Failing::Load]).is_some() {
                return Err("the store is away".into());
            }
            let loaded = self.inner.load(name).await;
            yields(self.yields).await;
            loaded
        })
    }

    fn swap<'a>(
        &'a self,
        name: &'a str,
        old: Option<Version>,
        new: Option<&'a Record>,
    ) -> StoreFuture<'a, Option<Version>> {
        Box::pin(async move {
            yields(self.yields).await;
            let points = [Failing::Swap, Failing::SwapSaid, Failing::SwapAfterRemoval];
            match self.fails(&points) {
                Some(Failing::Swap) => Err("the store is away".into()),
                Some(Failing::SwapAfterRemoval) => {
                    let there = self.inner.load(name).await?.map(|(version, _)| version);
                    self.inner.swap(name, there, None).await?;
                    return self.inner.swap(name, old, new).await;
                }
                said => {
                    let swapped = self.inner.swap(name, old, new).await;
                    yields(self.yields).await;
                    match said {
                        Some(_) => Err("the answer of the store was lost".into()),
                        None => swapped,
                    }
                }
            }
        })
    }

    fn lock<'a>(&'a self, name: &'a str, longest: Duration) -> StoreFuture<'a, StoreLock> {
        Box::pin(async move {
            yields(self.yields).await;
            if self.fails(&[Failing::Lock]).is_some() {
                return Err("the store is away".into());
            }
            self.inner.lock(name, longest).await
        })
    }
}

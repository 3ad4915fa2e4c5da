//! Where responses are kept.

use super::{
    entry::{Entry, Variant},
    key::{CacheKey, CacheKeyRef},
};

/// Where responses are kept: in memory, elsewhere, or both.
///
/// Only [`get`](Self::get) is waited for, and for a quarter of a second in all:
/// then the origin is asked as if nothing were stored, and the observer is told
/// of a `slow_store`. What writes is told and not waited
/// for, never fails a request, and may come to nothing: a cache may forget. A
/// store that has to wait for its writes queues them, and drops those that are
/// too many.
///
/// Clones are the same store.
///
/// # Elsewhere
///
/// A store in another process keeps bytes. What it needs:
///
/// - A name for a key is its [digest](CacheKey::digest); the key [in
///   full](CacheKey::to_bytes) is kept beside and compared, so that a name that two
///   keys have is a miss and no mix-up.
/// - A variant is a [head](Variant::head_to_bytes) and a [body](Variant::body),
///   and [read again](Variant::from_bytes) from them; what cannot be read is not
///   there. In a list of variants each has a [name of its
///   own](Variant::selector_digest). Head and body are written at once; a
///   [`freshen`](Self::freshen) writes the head alone.
/// - [`Entry::with`], [`outdates`](Entry::outdates) and
///   [`freshened`](Entry::freshened) say what becomes of what is there. Between
///   reading and writing that, nobody else writes: a script or a transaction.
/// - When a key was made invalid is kept for as long as a fetch may take.
/// - The [`Secret`](crate::Secret) of digests and of
///   [`ByCredentials`](crate::ByCredentials) is the same for all who share it.
/// - A [`MemoryStore`](crate::MemoryStore) in front of it goes by its stamps once
///   it is [told](crate::MemoryStore::advance) each of them.
/// - What is in it is trusted: who can write there can answer requests, and who
///   can read there reads what is private.
pub trait Store: Clone + Send + Sync + 'static {
    /// Waits for what is stored under a key.
    type Get: Future<Output = Option<Entry>> + Send;

    /// Looks without waiting. Allocates nothing: it is what a hit costs.
    /// Defaults to [`Peek::Ask`].
    fn peek(&self, key: CacheKeyRef<'_>) -> Peek {
        let _ = key;
        Peek::Ask
    }

    /// Looks for what is stored under a key.
    fn get(&self, key: &CacheKey) -> Self::Get;

    /// Taken before the origin is asked, and kept with what it answers, so that
    /// the store can tell what is older than what it has, or was invalidated
    /// since. No two are the same.
    ///
    /// It is not waited for, so processes that share a store make theirs of the
    /// time, say microseconds since 1970, with a number of the process in the lowest
    /// bits, and never one that is lower than their last. Clocks that are apart
    /// make it uncertain for so long which of two is later: what another process
    /// makes invalid within that time of a fetch may be stored all the same, for as
    /// long as it is fresh.
    fn stamp(&self) -> Stamp;

    /// Whether what was asked for at such a time could still be stored under a key,
    /// so that it was not [invalidated](Self::invalidate) since. Requests do not
    /// wait for what others have asked for, if it could not. Defaults to yes.
    fn is_current(&self, key: CacheKeyRef<'_>, asked: Stamp) -> bool {
        let _ = (key, asked);
        true
    }

    /// Stores one variant in place of what [is for the same
    /// requests](Entry::with). Says whether it does.
    ///
    /// One whose [stamp](Variant::stamp) is older than the last invalidation of
    /// the key, or than what would be replaced, is not stored.
    fn put(&self, key: &CacheKey, variant: Variant) -> bool;

    /// Puts another head on a stored variant, whose body stays as it is: the
    /// fresh one has the same. Where the stale one is not stored any more, that is
    /// all there is to do.
    fn freshen(&self, key: &CacheKey, stale: &Variant, fresh: Variant);

    /// Forgets all variants that are stored under a key, and those that were
    /// asked for before. With a key of no [body](CacheKey::body) go all that differ
    /// from it by theirs alone: a write makes the answers to QUERY invalid too.
    fn invalidate(&self, key: CacheKeyRef<'_>);

    /// How many bytes the largest body may have.
    fn max_body(&self) -> u64;
}

/// What a store finds without waiting.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Peek {
    /// What is stored under the key.
    Found(Entry),
    /// There is nothing.
    Absent,
    /// It has to be [waited for](Store::get).
    Ask,
}

/// When a response was asked for, as the store counts it: higher for what was
/// asked for later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(u64);

impl Stamp {
    /// A stamp with this number.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub fn number(self) -> u64 {
        self.0
    }
}

//! Where tokens are kept, so that a login outlives the process.

use std::{pin::Pin, time::Duration};

use palisade_core::BoxError;

use crate::Secret;

/// A future of what a store comes to.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send + 'a>>;

/// Where refresh tokens are kept, for one process or several.
///
/// A server that rotates refresh tokens takes one that is used twice for a theft,
/// and revokes the login. So whoever refreshes holds the [lock](Self::lock), looks
/// whether another one has refreshed already, and writes by [comparing
/// versions](Self::swap).
pub trait TokenStore: Send + Sync + 'static {
    /// What is kept under a name.
    fn load<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Option<(Version, Record)>>;

    /// Puts a record in the place of the one of this version, or none in its place.
    /// Says the new version; nothing, if there is another version by now.
    fn swap<'a>(
        &'a self,
        name: &'a str,
        old: Option<Version>,
        new: Option<&'a Record>,
    ) -> StoreFuture<'a, Option<Version>>;

    /// Waits until nobody else refreshes what is kept under a name. Dropped, what
    /// is given lets the next one go; so it does after the given time, if the
    /// process is gone. Defaults to no lock at all.
    fn lock<'a>(&'a self, name: &'a str, longest: Duration) -> StoreFuture<'a, StoreLock> {
        let _ = (name, longest);
        Box::pin(std::future::ready(Ok(StoreLock::new(()))))
    }
}

/// Which of several records that were kept under a name it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// What is kept of a login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// The token to refresh with.
    pub refresh_token: Option<Secret>,
    /// The last access token, if that is kept too.
    pub access_token: Option<Secret>,
    /// The scheme of the access token.
    pub token_type: Option<String>,
    /// When the access token expires, in seconds since 1970.
    pub expires_at: Option<u64>,
    /// What it is good for.
    pub scope: Option<String>,
}

/// Held by who refreshes.
pub struct StoreLock(Box<dyn Send>);

impl StoreLock {
    /// A lock that is let go when this is dropped.
    pub fn new(guard: impl Send + 'static) -> Self {
        Self(Box::new(guard))
    }
}

impl std::fmt::Debug for StoreLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(_held) = self;
        f.write_str("StoreLock(..)")
    }
}

//! Where logins are kept, so that they outlive the process.

mod file;
mod memory;
mod record;

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use palisade_core::BoxError;

pub use self::{
    file::{FileTokenStore, TokenFileError},
    memory::MemoryTokenStore,
    record::Record,
};

/// A future of what a store comes to.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send + 'a>>;

/// Where refresh tokens are kept, for one process or several.
///
/// A server that rotates refresh tokens takes one that is used twice for a theft,
/// and revokes the login. So whoever refreshes holds the [lock](Self::lock), looks
/// whether another one has refreshed already, and writes by [comparing
/// versions](Self::swap).
///
/// An error may be any. If it is or wraps an [`AuthError`](crate::AuthError), that
/// says what can be done; any other is taken for one that passes, but for a
/// [`TokenFileError`] of a damaged file.
pub trait TokenStore: Send + Sync + 'static {
    /// What is kept under a name, and its version.
    ///
    /// # Errors
    ///
    /// If that is not known. Nothing under the name is no error.
    fn load<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Option<(Version, Record)>>;

    /// Puts a record in the place of the one of this version; `None` is nothing, in
    /// either place. Says the new version; nothing, and changes nothing, if another
    /// version is there by now.
    ///
    /// Once it has said the version, the record outlives the process, and a power
    /// failure if it can. A name never has one version twice, not even if it was
    /// empty in between.
    ///
    /// # Errors
    ///
    /// If it is not known whether it is written: it may be.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is either done or not: it may even be done later.
    fn swap<'a>(
        &'a self,
        name: &'a str,
        old: Option<Version>,
        new: Option<&'a Record>,
    ) -> StoreFuture<'a, Option<Version>>;

    /// Waits until nobody else refreshes what is kept under a name. Dropped, what
    /// is given lets the next one go.
    ///
    /// The time bounds both the wait and, where a store cannot tell that a process
    /// is gone, for how long it holds the lock. A store whose locks end by time
    /// should hold on to one as long as its guard lives; [`swap`](Self::swap) finds
    /// out if it could not. Defaults to no lock at all.
    ///
    /// # Errors
    ///
    /// If another one still has it after this time, or if there can be none.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it does not have the lock, or lets it go.
    fn lock<'a>(&'a self, name: &'a str, longest: Duration) -> StoreFuture<'a, StoreLock> {
        let _ = (name, longest);
        Box::pin(std::future::ready(Ok(StoreLock::new(()))))
    }
}

impl<S: TokenStore + ?Sized> TokenStore for Arc<S> {
    fn load<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Option<(Version, Record)>> {
        (**self).load(name)
    }

    fn swap<'a>(
        &'a self,
        name: &'a str,
        old: Option<Version>,
        new: Option<&'a Record>,
    ) -> StoreFuture<'a, Option<Version>> {
        (**self).swap(name, old, new)
    }

    fn lock<'a>(&'a self, name: &'a str, longest: Duration) -> StoreFuture<'a, StoreLock> {
        (**self).lock(name, longest)
    }
}

/// Which of several records that were kept under a name it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// Held by who refreshes.
pub struct StoreLock(Box<dyn Send>);

impl StoreLock {
    /// A lock that is let go when this is dropped.
    pub fn new(guard: impl Send + 'static) -> Self {
        Self(Box::new(guard))
    }
}

impl fmt::Debug for StoreLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(_held) = self;
        f.write_str("StoreLock(..)")
    }
}

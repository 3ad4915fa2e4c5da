//! Logins in a file, for all processes of a machine.

mod document;
mod error;
mod lock;
mod write;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use palisade_core::BoxError;
use tokio::{runtime::Handle, task};

pub use self::error::TokenFileError;
use self::{document::Document, error::Problem};
use super::{Record, StoreFuture, StoreLock, TokenStore, Version};

/// For how long somebody else may be writing the file.
const LONGEST_WRITE: Duration = Duration::from_secs(10);

/// Keeps logins in a file, for one process or several. Clones are the same store.
///
/// The file is JSON, with one entry for each name. Fields and entries of others are
/// left as they are. A file that cannot be understood is an error, and is not
/// overwritten.
///
/// It is replaced as a whole: written beside it, brought to the disk and renamed, so
/// that a reader or a power failure finds either the old or the new one. On Unix,
/// its owner alone can read it. A symbolic link is followed, and stays. Put it in a
/// directory in which nobody else writes; if there is none yet, it is made, for its
/// owner alone.
///
/// Locks are those of the operating system, which ends them with the process. They
/// are on files beside it, such as `tokens.json.lock`, which are empty and stay: who
/// takes one away while it is in use lets two processes refresh at once. On network
/// file systems, locks are only as good as those.
///
/// Files are read and written on the threads of the tokio runtime that are for that.
/// Without a runtime, who polls waits; and who finds a lock taken gets an error.
///
/// ```
/// use palisade_auth::{FileTokenStore, Record, TokenStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let directory = std::env::temp_dir().join(format!("palisade-doc-{}", std::process::id()));
/// let store = FileTokenStore::new(directory.join("tokens.json"));
/// let mut login = Record::default();
/// login.refresh_token = Some("tGzv3JOkF0XG5Qx2TlKWIA".into());
/// let version = store.swap("alice", None, Some(&login)).await?;
///
/// // Another process finds it.
/// let store = FileTokenStore::new(directory.join("tokens.json"));
/// assert_eq!(store.load("alice").await?, version.map(|version| (version, login)));
/// # std::fs::remove_dir_all(directory)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct FileTokenStore {
    path: PathBuf,
}

impl FileTokenStore {
    /// Keeps logins in this file. Nothing is read yet, and it need not be there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Does what takes a while with the file that the path leads to.
    async fn with_file<T, F>(&self, work: F) -> Result<T, TokenFileError>
    where
        T: Send + 'static,
        F: FnOnce(&Path) -> Result<T, Problem> + Send + 'static,
    {
        let path = self.path.clone();
        let failed = |problem| TokenFileError::new(&self.path, problem);
        beside(move || work(&write::target(&path)?)).await.and_then(|done| done).map_err(failed)
    }

    async fn lock_file(
        &self,
        suffix: String,
        longest: Duration,
    ) -> Result<lock::Lock, TokenFileError> {
        let path = self.with_file(move |path| Ok(lock::path_of(path, &suffix))).await?;
        let failed = |problem| TokenFileError::new(&self.path, problem);
        lock::wait(path, longest).await.map_err(failed)
    }
}

/// Does what blocks a thread on one that is for that.
///
/// Once it has begun, it goes on to its end, even if this is dropped.
async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    match Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(work).await.map_err(ended),
        Err(_) => Ok(work()),
    }
}

fn ended(error: task::JoinError) -> Problem {
    Problem::Io(error.into())
}

impl TokenStore for FileTokenStore {
    fn load<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Option<(Version, Record)>> {
        let name = name.to_owned();
        Box::pin(async move {
            let read = move |path: &Path| Document::read(path)?.get(&name);
            self.with_file(read).await.map_err(BoxError::from)
        })
    }

    fn swap<'a>(
        &'a self,
        name: &'a str,
        old: Option<Version>,
        new: Option<&'a Record>,
    ) -> StoreFuture<'a, Option<Version>> {
        let (name, new) = (name.to_owned(), new.cloned());
        Box::pin(async move {
            let lock = self.lock_file(String::new(), LONGEST_WRITE).await?;
            let swap = move |path: &Path| {
                // It goes where the work goes, which nobody can stop.
                let _lock = lock;
                let mut document = Document::read(path)?;
                if document.get(&name)?.map(|(version, _)| version) != old {
                    return Ok(None);
                }
                let version = document.put(&name, new.as_ref())?;
                write::replace(path, &document.to_bytes()?)?;
                Ok(Some(version))
            };
            self.with_file(swap).await.map_err(BoxError::from)
        })
    }

    /// Each name has a file of its own to lock, so that one login need not wait for
    /// another.
    fn lock<'a>(&'a self, name: &'a str, longest: Duration) -> StoreFuture<'a, StoreLock> {
        Box::pin(async move {
            let lock = self.lock_file(lock::suffix(name), longest).await?;
            Ok(StoreLock::new(lock))
        })
    }
}

//! Locks on files that are for nothing else.

use std::{
    ffi::OsString,
    fmt::Write,
    fs::File,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{runtime::Handle, time};

use super::{beside, error::Problem, write};

/// The lock of a file. The operating system ends it when this is closed, which it
/// does itself if the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// How long between two looks at a lock: the first time, and at most.
const PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Waits for a lock by looking again and again: who waits for the operating system
/// blocks a thread, and cannot be told to stop.
pub(super) async fn wait(path: PathBuf, longest: Duration) -> Result<Lock, Problem> {
    let mut left = longest;
    let mut pause = PAUSE;
    loop {
        let at = path.clone();
        if let Some(file) = beside(move || take(&at)).await?? {
            return Ok(Lock { _file: file });
        }
        if Handle::try_current().is_err() {
            return Err(Problem::NoRuntime);
        }
        if left.is_zero() {
            return Err(Problem::Held);
        }
        let now = pause.min(left);
        time::sleep(now).await;
        left -= now;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// Takes the lock, if nobody has it. Files that are opened twice are two, even for
/// one process.
fn take(path: &Path) -> io::Result<Option<File>> {
    write::make_directory(path)?;
    system::take(path)
}

#[cfg(unix)]
mod system {
    use rustix::{
        fs::{FlockOperation, flock},
        io::Errno,
    };

    use super::{File, Path, io, write};

    pub(super) fn take(path: &Path) -> io::Result<Option<File>> {
        let file = write::private().create(true).truncate(false).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(windows)]
mod system {
    use std::os::windows::fs::OpenOptionsExt;

    use super::{File, Path, io, write};

    /// `ERROR_SHARING_VIOLATION`.
    const IN_USE: i32 = 32;

    /// Who has it open shares it with nobody.
    pub(super) fn take(path: &Path) -> io::Result<Option<File>> {
        let mut options = write::private();
        match options.create(true).truncate(false).share_mode(0).open(path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.raw_os_error() == Some(IN_USE) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(not(any(unix, windows)))]
mod system {
    use super::{File, Path, io};

    pub(super) fn take(_: &Path) -> io::Result<Option<File>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The file to lock for another one.
pub(super) fn path_of(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.push(".lock");
    PathBuf::from(name)
}

/// As much of a name as goes into that of a file. Longer ones that begin alike share
/// a lock, which costs them time alone.
const LONGEST_SUFFIX: usize = 100;

/// A name in terms fit for the name of a file.
pub(super) fn suffix(name: &str) -> String {
    let mut suffix = String::from(".");
    for byte in name.bytes() {
        if LONGEST_SUFFIX <= suffix.len() {
            break;
        }
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' => suffix.push(char::from(byte)),
            _ => write!(suffix, "_{byte:02x}").expect("a text takes all"),
        }
    }
    suffix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_names_of_files() {
        for (name, file) in [
            ("alice", "/x/t.json.alice.lock"),
            ("../Bob", "/x/t.json._2e_2e_2f_42ob.lock"),
            ("", "/x/t.json..lock"),
            ("a b", "/x/t.json.a_20b.lock"),
        ] {
            assert_eq!(path_of(Path::new("/x/t.json"), &suffix(name)), Path::new(file));
        }
        assert!(suffix(&"\u{1f511}".repeat(1000)).len() <= LONGEST_SUFFIX + 2);
    }
}

//! How a file is replaced as a whole.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::error::Problem;

/// The file that a path leads to, through symbolic links: it is replaced, not the
/// link, and whoever comes by another way finds the same locks.
pub(super) fn target(path: &Path) -> Result<PathBuf, Problem> {
    match fs::canonicalize(path) {
        Ok(target) => Ok(target),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        Err(_) if fs::symlink_metadata(path).is_ok() => {
            Err(Problem::Damaged("is a link to a file that is not there"))
        }
        // It is to be made: by now its directory may be there, or not.
        Err(_) => Ok(absent(path)),
    }
}

fn absent(path: &Path) -> PathBuf {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return path.to_owned();
    };
    let directory = match directory.as_os_str().is_empty() {
        true => Path::new("."),
        false => directory,
    };
    match fs::canonicalize(directory) {
        Ok(directory) => directory.join(name),
        Err(_) => path.to_owned(),
    }
}

/// Makes the directory of a file, if there is none, for its owner alone.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty())
    else {
        return Ok(());
    };
    if directory.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(directory)
}

/// Opens a file to write that its owner alone may read, and no symbolic link.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;

        let no_links = rustix::fs::OFlags::NOFOLLOW.bits();
        options.mode(0o600).custom_flags(no_links.cast_signed());
    }
    options
}

/// Puts a file with this content in the place of the one that is there. The lock for
/// writing has to be held.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = OsString::from(path);
    name.push(".tmp");
    let next = Path::new(&name);
    // Of a process that was ended while it wrote.
    match fs::remove_file(next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = private().create_new(true).open(next)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    // Windows renames nothing that is open.
    drop(file);
    let renamed = written.and_then(|()| fs::rename(next, path));
    if renamed.is_err() {
        // What went wrong first is told.
        let _gone = fs::remove_file(next);
    }
    renamed.map(|()| sync_directory(path))
}

/// Brings the new name to the disk. Not every file system can, and the file is
/// replaced already.
#[cfg(unix)]
fn sync_directory(path: &Path) {
    if let Some(directory) = path.parent().and_then(|directory| fs::File::open(directory).ok()) {
        let _synced = directory.sync_all();
    }
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) {}

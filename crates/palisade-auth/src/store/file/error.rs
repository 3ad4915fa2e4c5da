use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
};

/// A file of logins cannot be used. What stands in it is not shown.
#[derive(Debug)]
pub struct TokenFileError {
    path: PathBuf,
    problem: Problem,
}

/// What is the matter with it.
#[derive(Debug)]
pub(super) enum Problem {
    Io(io::Error),
    /// It is not what this store writes, by what is said of it.
    Damaged(&'static str),
    Held,
    /// Another one holds the lock, and without a runtime nobody can wait.
    NoRuntime,
}

impl TokenFileError {
    pub(super) fn new(path: &Path, problem: Problem) -> Self {
        Self { path: path.to_owned(), problem }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it was read and not understood. That does not pass by itself: it has
    /// to be set right or moved away.
    pub fn is_damaged(&self) -> bool {
        matches!(self.problem, Problem::Damaged(_))
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for TokenFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.problem {
            Problem::Io(_) => write!(f, "the token file `{path}` cannot be used"),
            Problem::Damaged(what) => write!(
                f,
                "the token file `{path}` {what}: set it right, or move it away and log in anew"
            ),
            Problem::Held => {
                write!(f, "another process still holds the lock of the token file `{path}`")
            }
            Problem::NoRuntime => {
                write!(f, "the token file `{path}` is locked, and waiting needs a tokio runtime")
            }
        }
    }
}

impl Error for TokenFileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.problem {
            Problem::Io(error) => Some(error),
            _ => None,
        }
    }
}

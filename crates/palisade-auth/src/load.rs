//! Secrets that are kept outside of the program.

use std::{env, error::Error, fmt, fs, io, path::Path};

use zeroize::Zeroizing;

use crate::{AuthError, Recovery, Secret};

impl Secret {
    /// A secret in a variable of the environment.
    ///
    /// # Errors
    ///
    /// If the variable is not set, is empty or is no Unicode.
    ///
    /// ```
    /// use palisade_auth::Secret;
    ///
    /// let missing = Secret::from_env("NO_SUCH_SECRET").unwrap_err();
    /// assert_eq!(missing.to_string(), "`NO_SUCH_SECRET` is not set");
    /// ```
    pub fn from_env(name: &str) -> Result<Self, NotLoaded> {
        match env::var(name) {
            Ok(text) if !text.is_empty() => Ok(Self::new(text)),
            Ok(_) | Err(env::VarError::NotPresent) => Err(NotLoaded::of(name, Cause::NotSet)),
            Err(env::VarError::NotUnicode(_)) => Err(NotLoaded::of(name, Cause::NotUnicode)),
        }
    }

    /// A secret that is all of a file, without the space around it, such as the line
    /// break at its end. The thread waits until it is read.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is empty or is not UTF-8.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, NotLoaded> {
        let path = path.as_ref();
        let text = read(path)?;
        match text.trim() {
            "" => Err(NotLoaded::of(&path.display(), Cause::Empty)),
            text => Ok(Self::new(text)),
        }
    }

    /// A secret in a `.env` file: lines of `NAME=value`, in the syntax of
    /// [`dotenvy`]. Put a value with a `$`, a `#` or spaces in single quotes. The
    /// environment is neither asked nor changed. The thread waits until it is read.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or is malformed, or if the name does not stand in
    /// it or has no value.
    pub fn from_dotenv(path: impl AsRef<Path>, name: &str) -> Result<Self, NotLoaded> {
        let path = path.as_ref();
        let text = read(path)?;
        // Its errors show the line: they go no further.
        let malformed = |_| NotLoaded::of(&path.display(), Cause::Malformed);
        let mut found = None;
        for line in dotenvy::from_read_iter(text.as_bytes()) {
            let (known, value) = line.map_err(malformed)?;
            let value = Self::new(value);
            if known == name && found.is_none() {
                found = Some(value);
            }
        }
        let found = found.filter(|value| !value.expose().is_empty());
        found.ok_or_else(|| NotLoaded::of(name, Cause::NotSet))
    }
}

fn read(path: &Path) -> Result<Zeroizing<String>, NotLoaded> {
    let read = fs::read_to_string(path).map(Zeroizing::new);
    read.map_err(|error| NotLoaded::of(&path.display(), Cause::Io(error)))
}

/// A secret was not where it should be. What was there instead is not shown.
#[derive(Debug)]
pub struct NotLoaded {
    what: String,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    NotSet,
    NotUnicode,
    Empty,
    Malformed,
    Io(io::Error),
}

impl NotLoaded {
    fn of(what: &(impl ToString + ?Sized), cause: Cause) -> Self {
        Self { what: what.to_string(), cause }
    }
}

impl fmt::Display for NotLoaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ", self.what)?;
        f.write_str(match self.cause {
            Cause::NotSet => "is not set",
            Cause::NotUnicode => "is no Unicode",
            Cause::Empty => "is empty",
            Cause::Malformed => "is no file of variables",
            Cause::Io(_) => "cannot be read",
        })
    }
}

impl Error for NotLoaded {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            Cause::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// Somebody has to put it there.
impl From<NotLoaded> for AuthError {
    fn from(error: NotLoaded) -> Self {
        Self::new("a secret was not loaded", Recovery::FixRequest).with_source(error)
    }
}

//! The programs of this crate that call one another.

use std::{
    env,
    fmt::Display,
    io,
    path::{Path, PathBuf},
};

/// What helps when a program is not there, or older than who calls it.
const BUILD: &str = "cargo build --release --bins";

/// Where a program of this crate is.
///
/// # Errors
///
/// If the system does not say where this one is.
pub fn beside_this_one(name: &str) -> io::Result<PathBuf> {
    Ok(env::current_exe()?.with_file_name(format!("{name}{}", env::consts::EXE_SUFFIX)))
}

/// What to say when it does not do its work.
pub fn failed(program: &Path, why: &dyn Display) -> String {
    format!("{}: {why}: {BUILD}", program.display())
}

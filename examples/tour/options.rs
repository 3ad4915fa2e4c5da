//! What can be set on the command line.

use std::path::{Path, PathBuf};

use clap::Parser;

/// Makes the same calls to an API with a bare client and with palisade's, and compares the two
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Writes the chart there, in place of the system's temporary directory
    #[arg(long, value_name = "PATH", value_parser = parse_file)]
    svg: Option<PathBuf>,
    /// What is called, and how the API fails, is drawn from this number
    #[arg(long, value_name = "N", default_value = "8")]
    pub(crate) seed: u64,
}

impl Options {
    pub(crate) fn svg(&self) -> PathBuf {
        let given = self.svg.clone();
        given.unwrap_or_else(|| std::env::temp_dir().join("palisade-tour.svg"))
    }
}

/// What could not be written in the end is told at the start.
fn parse_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let directory = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Err("it names no file".to_owned()),
    };
    if path.is_dir() || path.file_name().is_none() {
        return Err("it is a directory; name a file in it".to_owned());
    }
    match directory.is_dir() {
        true => Ok(path),
        false => Err(format!("there is no directory {}", directory.display())),
    }
}

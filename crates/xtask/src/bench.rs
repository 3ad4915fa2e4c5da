//! `cargo xtask bench`: palisade against its peers.

use std::fs;

use clap::Args;

use crate::run::{Failure, Outcome, Tool, command, missing, output, succeed};

const MANIFEST: &str = "crates/palisade-bench/Cargo.toml";
const LOCKFILE: &str = "crates/palisade-bench/Cargo.lock";

const VALGRIND: Tool =
    Tool { name: "valgrind", probe: "valgrind --version", install: "apt-get install valgrind" };

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Runs only the benches whose name contains this
    filter: Option<String>,
    /// Prints one JSON object a line instead of tables
    #[arg(long, conflicts_with = "ir")]
    json: bool,
    /// Counts instructions under valgrind instead of nanoseconds
    #[arg(long)]
    ir: bool,
    /// How often each subject is timed; the median counts
    #[arg(long, value_name = "N", conflicts_with = "ir")]
    rounds: Option<u32>,
}

/// # Errors
///
/// Fails when the benches do not build or run, or when `--ir` lacks one of its tools.
pub(crate) fn run(options: &Options) -> Outcome {
    match options.ir {
        true => instructions(options),
        false => times(options),
    }
}

fn times(options: &Options) -> Outcome {
    // The program that times calls the one that counts allocations, so both have to be there.
    succeed(&mut command(&format!(
        "cargo build --release --quiet --manifest-path {MANIFEST} --bins"
    )))?;

    let mut bench = command(&format!("cargo run --release --quiet --manifest-path {MANIFEST} --"));
    bench.args(&options.filter);
    if options.json {
        bench.arg("--json");
    }
    if let Some(rounds) = options.rounds {
        bench.args(["--rounds", &rounds.to_string()]);
    }
    succeed(&mut bench)
}

fn instructions(options: &Options) -> Outcome {
    VALGRIND.require()?;
    require_runner()?;

    let mut bench =
        command(&format!("cargo bench --quiet --manifest-path {MANIFEST} --bench ir --"));
    // Here a filter is a pattern for all of the name.
    bench.args(options.filter.iter().map(|filter| format!("*{filter}*")));
    succeed(&mut bench)
}

/// gungraun works with the runner of its very version alone.
fn require_runner() -> Outcome {
    let lockfile = fs::read_to_string(LOCKFILE)
        .map_err(|error| Failure::new(format!("cannot read {LOCKFILE}: {error}")))?;
    let version = locked_version(&lockfile, "gungraun")
        .ok_or_else(|| Failure::new(format!("there is no gungraun in {LOCKFILE}")))?;

    let found = output(&mut command("gungraun-runner --version"));
    match found {
        Ok(found) if found.trim_end().ends_with(&format!(" {version}")) => Ok(()),
        _ => Err(missing(
            &format!("gungraun-runner {version}"),
            &format!("cargo install --locked gungraun-runner --version ={version}"),
        )),
    }
}

/// Finds the version of a package in a lockfile.
fn locked_version<'a>(lockfile: &'a str, package: &str) -> Option<&'a str> {
    let name = format!("name = \"{package}\"");
    let mut lines = lockfile.lines().skip_while(|line| *line != name);
    lines.nth(1)?.strip_prefix("version = \"")?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_locked_version() {
        let lockfile = "[[package]]\nname = \"gungraun-macros\"\nversion = \"0.10.0\"\n\n\
                        [[package]]\nname = \"gungraun\"\nversion = \"0.20.0\"\n";

        assert_eq!(locked_version(lockfile, "gungraun"), Some("0.20.0"));
        assert_eq!(locked_version(lockfile, "gun"), None);
        assert_eq!(locked_version("", "gungraun"), None);
    }
}

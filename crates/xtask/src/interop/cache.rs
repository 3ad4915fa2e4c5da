//! `cargo xtask interop cache`: the suite of cache tests, through a proxy that is our cache.

use std::{fs, io};

use clap::{Args, ValueEnum};

use super::{
    NODE, NPM,
    server::Server,
    verdict::{Change, Kind, Mode, Test, Verdict, baseline, judge},
};
use crate::run::{Failure, Outcome, Tool, command, succeed};

const SUITE: Tool = Tool {
    name: "http-cache-tests",
    probe: "npm ls --prefix tests/cache-tests",
    install: "npm ci --prefix tests/cache-tests",
};

const SUITE_DIR: &str = "tests/cache-tests";
const SCRATCH_DIR: &str = "target/interop-cache";

#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// The one mode to run, instead of both
    #[arg(long)]
    mode: Option<Mode>,
    /// Runs one test alone, and shows what client and origin saw of it
    #[arg(long, value_name = "ID", conflicts_with = "bless")]
    test: Option<String>,
    /// Takes what passes now for what has to pass from now on
    #[arg(long)]
    bless: bool,
}

/// # Errors
///
/// Fails when a test no longer passes that did, when the suite cannot be run, or when a tool is
/// missing.
pub(crate) fn run(options: &Options) -> Outcome {
    [NODE, NPM, SUITE].iter().try_for_each(Tool::require)?;
    succeed(&mut command("cargo build --quiet --package palisade-tests --example cache-proxy"))?;
    let (_server, origin) =
        Server::start(&mut command(&format!("node {SUITE_DIR}/origin.mjs")), authority)?;

    let modes = options.mode.map_or_else(|| Mode::value_variants().to_vec(), |mode| vec![mode]);
    let mut lost = 0;
    for mode in modes {
        println!("==> cache tests, {}", mode.name());
        let tests = results(mode, &origin, options.test.as_deref())?;
        match &options.test {
            Some(id) => match tests.iter().find(|test| test.id == *id) {
                Some(test) => println!("{}: {}", test.id, test.verdict.reason()),
                None => println!("{id}: no test of this mode"),
            },
            None => {
                print_all(&tests);
                lost += compare(mode, &tests, options.bless)?;
            }
        }
    }
    match lost {
        0 => Ok(()),
        _ => Err(Failure::new(format!("cache tests that are no longer passed: {lost}"))),
    }
}

/// Runs the tests, or one of them.
fn results(mode: Mode, origin: &str, test: Option<&str>) -> Outcome<Vec<Test>> {
    let name = mode.name();
    // A cache that is new each time.
    let mut proxy = command(&format!(
        "cargo run --quiet --package palisade-tests --example cache-proxy -- --mode {name} {origin}"
    ));
    let (_server, proxy) = Server::start(&mut proxy, authority)?;
    let file = format!("{SCRATCH_DIR}/{name}.json");
    fs::create_dir_all(SCRATCH_DIR)
        .map_err(|error| Failure::new(format!("cannot create {SCRATCH_DIR}: {error}")))?;
    let mut client =
        command(&format!("node --no-warnings {SUITE_DIR}/client.mjs {name} http://{proxy} {file}"));
    succeed(client.args(test))?;

    let text = fs::read_to_string(&file)
        .map_err(|error| Failure::new(format!("cannot read {file}: {error}")))?;
    let written = serde_json::from_str(&text)
        .map_err(|error| Failure::new(format!("cannot read {file}: {error}")))?;
    judge(mode, &written).ok_or_else(|| Failure::new(format!("{file} is not what a client writes")))
}

/// Finds where a server listens in what it says about that.
fn authority(line: &str) -> Option<String> {
    let authority = line.trim_end().strip_prefix("Listening on http://")?.strip_suffix('/')?;
    Some(authority.to_owned())
}

/// Says how many pass, and why the others do not.
fn print_all(tests: &[Test]) {
    for kind in Kind::ALL {
        let of_kind = || tests.iter().filter(|test| test.kind == kind);
        let count = |is: fn(&Verdict) -> bool| of_kind().filter(|test| is(&test.verdict)).count();
        println!(
            "{:<9}{:>4} of {:>3} passed; {} failed, {} not set up, {} depend on others, {} else",
            kind.name(),
            count(|verdict| matches!(verdict, Verdict::Passed)),
            of_kind().count(),
            count(|verdict| matches!(verdict, Verdict::Failed(_))),
            count(|verdict| matches!(verdict, Verdict::NotSetUp(_))),
            count(|verdict| matches!(verdict, Verdict::Depends(_))),
            count(|verdict| {
                matches!(verdict, Verdict::Retried | Verdict::GivenUp(_) | Verdict::Untested)
            }),
        );
    }
    for kind in Kind::ALL {
        for test in tests.iter().filter(|test| test.kind == kind) {
            match (kind, &test.verdict) {
                // Either answer to a check is right.
                (_, Verdict::Passed) | (Kind::Check, Verdict::Failed(_)) => {}
                (_, verdict) => println!("  {} {}: {}", kind.name(), test.id, verdict.reason()),
            }
        }
    }
}

/// Holds the tests against those that passed before, and counts the ones that no longer do.
fn compare(mode: Mode, tests: &[Test], bless: bool) -> Outcome<usize> {
    let file = format!("{SUITE_DIR}/baseline-{}.txt", mode.name());
    let failure = |error| Failure::new(format!("cannot keep {file}: {error}"));
    let before = match fs::read_to_string(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read.map_err(failure)?,
    };

    let change = Change::between(&before, tests);
    for (what, ids) in [("newly passed", &change.gained), ("no longer passed", &change.lost)] {
        if !ids.is_empty() {
            println!("{what}: {}", ids.join(", "));
        }
    }
    match bless {
        true => {
            fs::write(&file, baseline(tests)).map_err(failure)?;
            Ok(0)
        }
        false => Ok(change.lost.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_where_a_server_listens() {
        let found = authority("Listening on http://127.0.0.1:80/\n");
        assert_eq!(found.as_deref(), Some("127.0.0.1:80"));
        for line in ["", "\n", "Listening on 127.0.0.1:80", "Error: EADDRINUSE http://[::]:80/"] {
            assert_eq!(authority(line), None);
        }
    }
}

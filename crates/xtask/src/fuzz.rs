//! `cargo xtask fuzz`: every fuzz target for a while.

use std::{fs, path::Path};

use clap::Args;

use crate::run::{Failure, Outcome, Tool, command, output, succeed};

const FUZZ_DIR: &str = "crates/palisade-fuzz";

const NIGHTLY: Tool = Tool {
    name: "the nightly toolchain",
    probe: "rustup run nightly cargo --version",
    install: "rustup toolchain install nightly",
};

const CARGO_FUZZ: Tool = Tool {
    name: "cargo-fuzz",
    probe: "rustup run nightly cargo fuzz --version",
    install: "cargo install --locked cargo-fuzz",
};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The one target to run, instead of all
    target: Option<String>,
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
}

/// # Errors
///
/// Fails at the first target that finds something, or when a tool is missing.
pub(crate) fn run(options: &Options) -> Outcome {
    NIGHTLY.require()?;
    CARGO_FUZZ.require()?;

    let targets = match &options.target {
        Some(target) => vec![target.clone()],
        None => targets()?,
    };
    let seconds = options.seconds;
    for target in targets {
        println!("==> {target}, {seconds} s");
        let mut run = fuzz("run");
        run.arg(&target).args(inputs(&target)?);
        run.args(["--", &format!("-max_total_time={seconds}")]);
        succeed(&mut run)?;
    }
    Ok(())
}

/// The directories of inputs to start from. What is found on the way is added to the first one.
fn inputs(target: &str) -> Outcome<Vec<String>> {
    let corpus = format!("{FUZZ_DIR}/corpus/{target}");
    let seeds = format!("{FUZZ_DIR}/seeds/{target}");
    fs::create_dir_all(&corpus)
        .map_err(|error| Failure::new(format!("cannot create {corpus}: {error}")))?;

    let mut inputs = vec![corpus];
    if Path::new(&seeds).exists() {
        inputs.push(seeds);
    }
    Ok(inputs)
}

fn targets() -> Outcome<Vec<String>> {
    let targets = output(&mut fuzz("list"))?;
    match targets.trim() {
        "" => Err(Failure::new(format!("there are no targets in {FUZZ_DIR}"))),
        targets => Ok(targets.lines().map(str::to_owned).collect()),
    }
}

fn fuzz(command_name: &str) -> std::process::Command {
    // The cargo that runs this program is of one toolchain and knows no `+nightly`.
    command(&format!("rustup run nightly cargo fuzz {command_name} --fuzz-dir {FUZZ_DIR}"))
}

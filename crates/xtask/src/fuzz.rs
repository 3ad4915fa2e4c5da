//! `cargo xtask fuzz`: every fuzz target for a while.

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
        succeed(
            fuzz("run")
                .args([&target, "--"])
                .arg(format!("-max_total_time={seconds}")),
        )?;
    }
    Ok(())
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
    command(&format!(
        "rustup run nightly cargo fuzz {command_name} --fuzz-dir {FUZZ_DIR}"
    ))
}

//! The project's own commands: `cargo xtask check`, `arrows`, `loom`, `shuttle`, `interop`, `bench`, `fuzz`, `soak`.

mod arrows;
mod bench;
mod check;
mod fuzz;
mod interop;
mod models;
mod run;
mod soak;

use std::{env, path::Path, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::run::{Failure, Outcome};

/// The project's own commands.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs every gate that is not a test: format, arrows, lints, docs, features, dependencies
    Check,
    /// Checks that dependencies between the crates point down
    Arrows,
    /// Tries what threads share in every order of their steps
    Loom,
    /// Tries what threads share in many orders of their steps, at random
    Shuttle,
    /// Lets other programs judge what ours write and do
    Interop(interop::Options),
    /// Measures palisade against its peers
    Bench(bench::Options),
    /// Fuzzes for a while
    Fuzz(fuzz::Options),
    /// Keeps a client under load for a while that is given up, fails and panics at random
    Soak(soak::Options),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Outcome {
    // Every path below is relative to the root of the workspace.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    env::set_current_dir(&root)
        .map_err(|error| Failure::new(format!("cannot enter {}: {error}", root.display())))?;

    match command {
        Command::Check => check::run(),
        Command::Arrows => arrows::run(),
        Command::Loom => models::LOOM.run(),
        Command::Shuttle => models::SHUTTLE.run(),
        Command::Interop(options) => interop::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Soak(options) => soak::run(&options),
    }
}

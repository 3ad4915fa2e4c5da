//! Prints what the benches find, as tables or as one JSON object a line.

use std::{
    collections::HashMap,
    env,
    error::Error,
    num::NonZeroU32,
    process::{Command, Stdio},
};

use clap::Parser;
use palisade_bench::{Bench, Row, Subject, Work, benches, nanoseconds, table};
use serde_json::Value;

/// Measures palisade against its peers.
#[derive(Debug, Parser)]
struct Options {
    /// Runs only the benches whose name contains this
    filter: Option<String>,
    /// Prints one JSON object a line instead of tables
    #[arg(long)]
    json: bool,
    /// How often each subject is timed; the median counts
    #[arg(long, value_name = "N", default_value = "51")]
    rounds: NonZeroU32,
}

/// What helps when the binary `allocations` is not there, or older than this one.
const BUILD: &str = "cargo build --release --bins";

/// Allocations per call, by bench and subject.
type Allocations = HashMap<(String, String), f64>;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let filter = options.filter.as_deref();
    let allocations = allocations(filter)?;

    for bench in benches().iter().filter(|bench| bench.matches(filter)) {
        let rows = match bench.work {
            Work::Calls(subjects) => {
                calls(bench, &mut subjects(), &allocations, options.rounds.get())?
            }
            Work::Scene(play) => play(bench.name),
        };
        match options.json {
            true => rows.iter().for_each(|row| println!("{}", row.json())),
            false => println!("{}", table(&rows)),
        }
    }
    Ok(())
}

fn calls(
    bench: &Bench,
    subjects: &mut [Subject],
    allocations: &Allocations,
    rounds: u32,
) -> Result<Vec<Row>, Box<dyn Error>> {
    let nanoseconds = nanoseconds(subjects, rounds);
    let row = |(subject, nanoseconds): (&Subject, f64)| {
        let key = (bench.name.to_owned(), subject.name.to_owned());
        let allocations = allocations
            .get(&key)
            .ok_or_else(|| format!("nobody counts for {}: {BUILD}", subject.name))?;
        Ok(Row {
            bench: bench.name,
            subject: subject.name,
            figures: vec![("ns", nanoseconds), ("allocs", *allocations)],
        })
    };
    subjects.iter().zip(nanoseconds).map(row).collect()
}

/// Has the allocations counted by the binary `allocations`, which stands beside this one.
fn allocations(filter: Option<&str>) -> Result<Allocations, Box<dyn Error>> {
    let counter =
        env::current_exe()?.with_file_name(format!("allocations{}", env::consts::EXE_SUFFIX));
    let output = Command::new(&counter)
        .args(filter)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{}: {error}: {BUILD}", counter.display()))?;
    if !output.status.success() {
        return Err(format!("{}: {}", counter.display(), output.status).into());
    }

    let mut allocations = Allocations::new();
    for line in str::from_utf8(&output.stdout)?.lines() {
        let row: Value = serde_json::from_str(line)?;
        if let (Some(bench), Some(subject), Some(count)) =
            (row["bench"].as_str(), row["subject"].as_str(), row["allocs"].as_f64())
        {
            allocations.insert((bench.to_owned(), subject.to_owned()), count);
        }
    }
    Ok(allocations)
}
